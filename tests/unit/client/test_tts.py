"""The contract: accumulation, prefix stability, and views that never change."""

from base64 import b64decode
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet.accumulator import Accumulator
from speechfleet.audio.buffer import AudioBuffer
from speechfleet.chunks import AudioEntry, Finished, Rewind, Started
from speechfleet.tts import AudioBlock, Base64Source, Msg, TTSResponse

TUTORIAL = [20480 * n for n in range(1, 15)] + [291840, 291840]
"""Base64 lengths that AgentScope's tutorial prints for one streamed synthesis."""


def test_the_tutorial_lengths_come_out_of_the_chunk_stream() -> None:
    accumulator = Accumulator()
    accumulator.feed(Started(1, "w", "m", "v", "audio/pcm;rate=24000", 24000))
    sizes = [length // 4 * 3 for length in TUTORIAL[:-1]]
    chunks = []
    position = 0
    for size in sizes:
        entry = AudioEntry(position, size, bytes(size - position))
        chunks.append(accumulator.feed(entry))
        position = size
    chunks.append(accumulator.feed(Finished(position, 1, "o", "audio/wav")))
    contents = [chunk.response().content for chunk in chunks if chunk is not None]
    assert [len(content["source"]["data"]) for content in contents if content] == TUTORIAL
    last = chunks[-1]
    assert last is not None
    assert last.response().is_last
    assert last.response()["is_last"]


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20))
def test_base64_is_prefix_stable_and_whole_at_the_end(parts: list[bytes]) -> None:
    buffer = AudioBuffer()
    texts = []
    for part in parts:
        buffer.append(part)
        content = TTSResponse.of(buffer, "audio/pcm;rate=24000", is_last=False).content
        texts.append(content["source"]["data"] if content else "")
    last = TTSResponse.of(buffer, "audio/pcm;rate=24000", is_last=True).content
    assert last is not None
    texts.append(last["source"]["data"])
    for earlier, later in pairwise(texts):
        assert later.startswith(earlier)
    assert b64decode(texts[-1]) == b"".join(parts)


@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=40_000),
            st.integers(min_value=0, max_value=30_000),
        ),
        max_size=25,
    )
)
def test_what_was_handed_out_never_changes(steps: list[bytes | int]) -> None:
    buffer, model, handed = AudioBuffer(), b"", []
    for step in steps:
        if isinstance(step, bytes):
            buffer.append(step)
            model += step
        else:
            buffer.truncate(step)
            model = model[:step]
        snapshot = buffer.snapshot()
        handed.append((snapshot, model))
        assert snapshot.view == model
    for snapshot, bytes_then in handed:
        assert snapshot.view == bytes_then
        assert b64decode(snapshot.base64(last=True)) == bytes_then


def test_a_response_keeps_its_audio_when_the_stream_is_rewound() -> None:
    accumulator = Accumulator()
    first = accumulator.feed(AudioEntry(0, 12, b"abcdefghijkl"))
    assert first is not None
    early = first.response()
    accumulator.feed(Rewind(6, 2, "again"))
    second = accumulator.feed(AudioEntry(6, 12, b"GHIJKL"))
    assert second is not None
    assert bytes(first.audio) == b"abcdefghijkl"
    assert bytes(second.audio) == b"abcdefGHIJKL"
    assert early.content is not None
    assert b64decode(early.content["source"]["data"]) == b"abcdefghijkl"


def test_fields_are_read_as_attributes_and_as_items() -> None:
    response = TTSResponse(None, is_last=False)
    assert response.is_last is False
    assert response["is_last"] is False
    assert response.get("nothing", 7) == 7
    with pytest.raises(KeyError):
        response["_audio"]


def test_a_ready_content_is_decoded_from_an_offset_only() -> None:
    source = Base64Source(type="base64", media_type="audio/pcm;rate=8000", data="YWJjZGVmZ2g=")
    response = TTSResponse(AudioBlock(type="audio", source=source))
    assert response.audio_from(0) == b"abcdefgh"
    assert response.audio_from(5) == b"fgh"
    assert response.audio_from(8) == b""


def test_only_text_blocks_are_spoken() -> None:
    blocks = [{"type": "text", "text": "one"}, {"type": "thinking", "thinking": "no"}]
    assert Msg("a", [*blocks, {"type": "text", "text": "two"}]).text() == "one\ntwo"
    assert Msg("a", None).text() == ""
    assert Msg("a", None).get_text_content() is None
