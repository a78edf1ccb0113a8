"""The drawings of the documentation: the shape, the states, and two journeys."""

from __future__ import annotations

from docs.site.svg import Drawing, Step, sequence


def shape() -> str:
    """The parts of a fleet, and what passes between them."""
    drawing = Drawing(860, 250, "The parts of a fleet")
    redis = "Redis\njob records: the truth\nqueues: pointers to jobs\nchunk streams: live audio"
    drawing.box(20, 90, 150, 70, "client\nPython, CLI, HTTP")
    drawing.box(290, 60, 220, 130, redis)
    drawing.box(630, 20, 200, 60, "worker processes\nasyncio, one loop each")
    drawing.box(630, 130, 90, 60, "provider\nor own class")
    drawing.box(740, 130, 90, 60, "store\nS3, folder")
    drawing.arrow([(170, 105), (290, 105)])
    drawing.text(230, 98, "submit")
    drawing.arrow([(290, 145), (170, 145)])
    drawing.text(230, 160, "chunks")
    drawing.arrow([(510, 85), (630, 45)])
    drawing.text(556, 52, "claim")
    drawing.arrow([(630, 65), (510, 120)])
    drawing.text(600, 108, "chunks")
    drawing.arrow([(675, 80), (675, 130)])
    drawing.arrow([(785, 80), (785, 130)])
    drawing.arrow([(785, 190), (785, 230), (95, 230), (95, 160)], dashed=True)
    drawing.text(430, 222, "the finished audio, for late readers")
    return drawing.render()


def job_states() -> str:
    """The states of a job; the table of transitions is in lifecycle.py."""
    drawing = Drawing(760, 270, "The states of a job")
    drawing.box(40, 90, 120, 46, "QUEUED")
    drawing.box(300, 90, 120, 46, "RUNNING")
    drawing.box(580, 20, 140, 46, "SUCCEEDED")
    drawing.box(580, 90, 140, 46, "FAILED")
    drawing.box(580, 160, 140, 46, "CANCELLED")
    drawing.text(12, 80, "submit", anchor="start")
    drawing.arrow([(24, 84), (44, 94)])
    drawing.arrow([(160, 104), (300, 104)])
    drawing.text(230, 98, "claim")
    drawing.arrow([(300, 124), (160, 124)])
    drawing.text(230, 139, "back off, suspend,")
    drawing.text(230, 154, "requeue, recover")
    drawing.arrow([(420, 100), (500, 100), (500, 43), (580, 43)])
    drawing.text(536, 37, "finish")
    drawing.arrow([(420, 113), (580, 113)])
    drawing.text(536, 107, "fail")
    drawing.arrow([(380, 136), (380, 176), (580, 176)])
    drawing.arrow([(120, 136), (120, 192), (580, 192)])
    drawing.text(440, 170, "cancel")
    drawing.arrow([(650, 206), (650, 246), (70, 246), (70, 136)], dashed=True)
    drawing.text(360, 240, "retry: the next epoch (from each of the three)")
    return drawing.render()


def journey_of_a_job() -> str:
    """One msg.id, from submit to its result, with a worker killed on the way.

    Its numbers are those of the list in docs/concepts/life-of-a-job.md.
    """
    client, redis, first, second, store = (
        "client", "Redis", "worker A", "worker B", "object store",
    )  # fmt: skip
    steps: list[Step] = [
        (client, redis, "submit: record + message, one script"),
        (redis, first, "message: namespace, msg.id, sequence"),
        (first, redis, "claim: QUEUED to RUNNING, token A"),
        (first, redis, "chunks of segment 1, under token A"),
        (first, store, "segment 1, by its hash"),
        (first, redis, "segment 1 is recorded as finished"),
        (first, "worker A is killed: no heartbeat for 3 s"),
        (second, redis, "recover: back to the queue"),
        (redis, second, "message, again"),
        (second, redis, "claim: token B; rewind to the end of segment 1"),
        (store, second, "segment 1: read back, paid once"),
        (second, redis, "chunks of segment 2, under token B"),
        (second, store, "the finished audio"),
        (second, redis, "finish: record and last entry, one script"),
        (redis, client, "finished; result() reads the record"),
    ]
    return sequence(
        "The journey of one msg.id", [client, redis, first, second, store], steps, gap=235
    )


def journey_of_a_chunk() -> str:
    """One stretch of audio, from the provider's socket to the listener's ear.

    Its numbers are those of the list in docs/concepts/chunk-stream.md.
    """
    provider, driver, recorder, redis, reader = (
        "provider", "model driver", "recorder", "Redis", "client",
    )  # fmt: skip
    steps: list[Step] = [
        (provider, driver, "bytes of audio, as they arrive"),
        (driver, "accumulated response -> new bytes and their offset"),
        (driver, recorder, "segment number, offset, PCM"),
        (recorder, "in the order of the segments; one sample rate"),
        (recorder, redis, "XADD audio offset total data, under the token"),
        (redis, "refused if the token or the offset is wrong"),
        (redis, reader, "XREAD: only the new bytes"),
        (reader, "Accumulator: chunk.delta new, chunk.audio all"),
    ]
    return sequence(
        "The journey of one audio chunk",
        [provider, driver, recorder, redis, reader], steps, gap=250,
    )  # fmt: skip
