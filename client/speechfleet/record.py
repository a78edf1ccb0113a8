"""The record of a job: its state in Redis, read into typed fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from urllib.parse import unquote

from speechfleet.errors import NewerRecord
from speechfleet.fallback import Turn, decode_turns
from speechfleet.lifecycle import State
from speechfleet.request import Lane, Request
from speechfleet.spoken_form import SpokenForm
from speechfleet.takes import SegmentTakes, decode_takes

RECORD_VERSION = 1
"""The version of the records that this release writes; it reads all versions up to this one."""


class Waiting(StrEnum):
    """The reason for which a job is QUEUED."""

    NOT = ""
    """It is not QUEUED."""
    IN_LINE = "in line"
    """Others are before it."""
    BACK_OFF = "back-off"
    """An attempt failed; the next one is due later."""
    NO_WORKER = "no_worker"
    """No live worker takes jobs of its queue."""


@dataclass(frozen=True)
class StoredSegment:
    """A finished segment of a job: the places of its audio and its text, and its hash.

    Audio offsets are bytes of the job's stream; [start, end) includes the silence that follows
    the segment. Text offsets are code points of the submitted text.
    """

    index: int
    start: int
    end: int
    text_start: int
    text_end: int
    hash: str
    request_id: str = ""
    """The provider's own id of the call, for its support desk; "" for what was cached."""
    entry: str = ""
    """Id of its entry in the chunk stream."""

    def encode(self) -> str:
        """Encode as JSON, without ``entry``: that is known once the segment is written."""
        place = [self.index, self.start, self.end, self.text_start, self.text_end]
        return json.dumps([*place, self.hash, self.request_id], separators=(",", ":"))

    @classmethod
    def decode(cls, data: bytes | str) -> StoredSegment:
        """Read what the script `segment` has written. Raises ValueError, TypeError."""
        return cls(*json.loads(data))


LISTED_NUMBERS = (
    *("epoch", "attempts", "failures", "losses", "streak"),
    *("audio", "rate", "created", "updated"),
)
"""Fields with numbers that lists of jobs show."""


@dataclass(frozen=True)
class RecordFields:
    """The raw fields of a job's hash."""

    namespace: str
    id: str
    fields: Mapping[str, str]

    def _number(self, name: str) -> int:
        return int(self.fields.get(name) or 0)

    def _text(self, name: str, default: str = "") -> str:
        return self.fields.get(name, default)


class SpeakerFields(RecordFields):
    """The fields that say who speaks a job."""

    @property
    def model(self) -> str:
        return self._text("model")

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]

    @property
    def voice(self) -> str:
        return self._text("voice")

    @property
    def spoken_by(self) -> list[str]:
        """Models that spoke its segments so far, where that was not its own alone."""
        return self._text("spoken_by").splitlines()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The fallback voices that spoke, each from its first segment on."""
        return decode_turns(self._text("turns"))

    def speaker_of(self, segment: int) -> tuple[str, str]:
        """Return the model and the voice that speak a segment."""
        speaker = self.model, self.voice
        for turn in self.turns:
            if turn.first <= segment:
                speaker = turn.by.model, turn.voice
        return speaker


class Record(SpeakerFields):
    """A job as Redis knows it. Times are the server's, in Unix milliseconds; 0: not yet."""

    @classmethod
    def decode(cls, namespace: str, id: str, raw: Mapping[bytes, bytes]) -> Record:
        """Read the fields of a hash. Raises NewerRecord, ValueError."""
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        if int(fields.get("v", "1")) > RECORD_VERSION:
            raise NewerRecord(
                f"job {id!r} was written by a newer speechfleet (record version {fields['v']}, "
                f"this one reads {RECORD_VERSION}); upgrade this client or worker"
            )
        return cls(namespace, id, fields)

    def check(self) -> None:
        """Raise ValueError where a field that lists of jobs show cannot be read."""
        for name in LISTED_NUMBERS:
            self._number(name)
        _ = self.state, self.sums, self.turns

    @property
    def format(self) -> str:
        return self._text("format", "wav")

    @property
    def lane(self) -> Lane:
        return Lane(self._text("lane", Lane.LIVE))

    @property
    def queue(self) -> str:
        """The queue that the job waits in."""
        return self._text("queue")

    @cached_property
    def request(self) -> Request:
        return _read_request(self.fields)

    @property
    def state(self) -> State:
        return State(self.fields["state"])

    @property
    def epoch(self) -> int:
        return self._number("epoch")

    @property
    def created(self) -> int:
        return self._number("created")

    @property
    def updated(self) -> int:
        """Time of the last transition."""
        return self._number("updated")

    @property
    def history(self) -> list[tuple[int, str, str]]:
        """(milliseconds, event, detail) of every transition, oldest first."""
        lines = (line.split(" ", 2) for line in self._text("story").splitlines())
        return [(int(at), event, detail) for at, event, detail in lines]

    @property
    def sequence(self) -> int:
        """Number of the message that is out for the job; 0 while none is."""
        return self._number("seq")

    @property
    def attempts(self) -> int:
        """Attempts that failed."""
        return self._number("attempts")

    @property
    def failures(self) -> int:
        """Attempts that failed in a row: since the last new segment."""
        return self._number("failures")

    @property
    def losses(self) -> int:
        """Workers that died while they ran it."""
        return self._number("losses")

    @property
    def claims(self) -> int:
        """Executions that it was given to, in all epochs."""
        return self._number("claims")

    @property
    def code(self) -> str:
        """Code of the last error, or of the reason for its cancellation."""
        return self._text("code")

    @property
    def message(self) -> str:
        """Message of the last error, or the reason for its cancellation."""
        return self._text("message")

    @property
    def retryable(self) -> bool:
        """Tell whether the last error may pass."""
        return self._text("retryable") == "1"

    @property
    def reborn(self) -> bool:
        """Tell whether an earlier job of the same id was deleted a short while before this one."""
        return self._text("reborn") == "1"

    @property
    def token(self) -> str:
        """Token of the execution that owns it; "" while none does."""
        return self._text("token")

    @property
    def boot(self) -> str:
        """Boot id of the worker that owns it; "" while none does."""
        return self._text("boot")

    @property
    def route(self) -> str:
        """Routing key of the worker that holds a session; "" while none does."""
        return self._text("route")

    @property
    def audio(self) -> int:
        """Bytes of PCM that are published (or, unpublished, stored) so far."""
        return self._number("audio")

    @property
    def sample_rate(self) -> int:
        return self._number("rate")

    @property
    def text_end(self) -> int:
        """Code points of the text that are synthesized, or were heard before a cancellation."""
        return self._number("text_end")

    @property
    def suspect(self) -> list[int]:
        """Segments of this epoch that were found to be too short for their text, by index."""
        return [int(index) for index in self._text("suspect").split()]

    @property
    def object(self) -> str:
        """Key of the stored audio."""
        return self._text("object")

    @property
    def media_type(self) -> str:
        return self._text("media_type")

    @property
    def object_bytes(self) -> int:
        return self._number("bytes")

    @property
    def duration_ms(self) -> int:
        return self._number("duration_ms")

    @property
    def takes(self) -> dict[int, SegmentTakes]:
        """The segments that were spoken again, by index."""
        return decode_takes(self._text("takes"))

    @property
    def gain(self) -> float | None:
        """Gain of the stored audio, in dB; None where no loudness was asked for."""
        return float(self.fields["gain"]) if "gain" in self.fields else None

    @property
    def usage(self) -> dict[str, float]:
        """characters, billed, cached, tokens_in, tokens_out, calls; seconds of audio."""
        return in_seconds(self.sums)

    @property
    def stored_ahead(self) -> frozenset[str]:
        """Hashes of segments that this epoch stored, and counted, before their turn."""
        epoch, _, hashes = self._text("ahead").partition(":")
        return frozenset(hashes.split()) if epoch == str(self.epoch) else frozenset()

    @property
    def sums(self) -> dict[str, int]:
        """Usage in whole numbers, as Redis adds it up."""
        mark = "usage."
        return {k.removeprefix(mark): int(v) for k, v in self.fields.items() if k.startswith(mark)}


def _read_request(fields: Mapping[str, str]) -> Request:
    get = fields.get
    live = get("live")
    return Request(
        text=get("text", ""),
        model=fields["model"],
        voice=get("voice", ""),
        options=json.loads(get("options", "{}")),
        format=get("format", "wav"),
        lane=Lane(get("lane", "live")),
        segments=get("cut") or None,  # type: ignore[arg-type]  # written by Request only
        language=get("language", ""),
        form=SpokenForm.decode(get("form", "")),
        live=None if live is None else live == "1",
        wire="accumulated" if get("wire") == "accumulated" else "delta",
        cache=get("cache", "1") == "1",
        name=get("name", ""),
        role=get("role", "assistant"),
        open=get("open") == "1",
        trace=get("trace", ""),
        batch=unquote(get("batch", "")),
    )


def in_seconds(usage: Mapping[str, int]) -> dict[str, float]:
    """Give audio in seconds, as people read it: Redis sums whole milliseconds."""
    return {
        ("seconds" if name == "audio_ms" else name): (
            value / 1000 if name == "audio_ms" else value
        )
        for name, value in usage.items()
    }
