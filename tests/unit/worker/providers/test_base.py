"""The seam of an adapter: whole frames, four time-outs, no silent success; and its parts."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechfleet.audio.media_type import media_type_for, shape_of
from speechfleet.errors import (
    AuthenticationFailed,
    IncompleteAudio,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)
from speechfleet.settings import Timeouts
from speechfleet.tts import Msg, TTSResponse, TTSUsage
from speechfleet_worker.providers.base import (
    Audio,
    ProviderModel,
    Report,
    SpokenWord,
)
from speechfleet_worker.providers.clients import LoopClients, account
from speechfleet_worker.providers.failures import failure, kind_of, readable, retry_after
from speechfleet_worker.providers.pcm import PcmReader
from speechfleet_worker.testing.openai_server import wav_header


class Parts(ProviderModel):
    """Speaks what it was given; ``None`` is silence for ever."""

    def __init__(
        self,
        *parts: Audio | Report | ProviderError | None,
        stream: bool = True,
        timeouts: Timeouts | None = None,
    ) -> None:
        super().__init__("parts", stream, timeouts=timeouts)
        self.parts = parts
        self.closed = 0

    async def speak(self, text: str) -> AsyncGenerator[Audio | Report, None]:
        try:
            for part in self.parts:
                if isinstance(part, ProviderError):
                    raise part
                if part is None:
                    await asyncio.Event().wait()
                else:
                    yield part
        finally:
            self.closed += 1


async def responses(model: ProviderModel, text: str = "hello") -> list[TTSResponse]:
    stream = await model.synthesize(Msg("a", text))
    assert isinstance(stream, AsyncGenerator)
    return [response async for response in stream]


def pcm(*pieces: bytes, rate: int = 24_000, channels: int = 1) -> list[Audio]:
    return [Audio(piece, rate, channels) for piece in pieces]


# --- the base


async def test_a_frame_split_between_pieces_is_carried_over() -> None:
    heard = await responses(Parts(*pcm(b"\1\2\3", b"\4", b"\5\6")))
    assert [bytes(r.audio_from(0)) for r in heard] == [
        b"\1\2",
        b"\1\2\3\4",
        b"\1\2\3\4\5\6",
        b"\1\2\3\4\5\6",
    ]
    stereo = await responses(Parts(*pcm(b"\1\2\3\4\5\6", b"\7\7", channels=2)))
    assert stereo[0].media_type == "audio/pcm;rate=24000;channels=2"
    assert bytes(stereo[0].audio_from(0)) == b"\1\2\3\4"


@given(st.binary(min_size=2, max_size=400).filter(lambda b: len(b) % 2 == 0), st.data())
def test_however_the_bytes_are_cut_the_audio_is_the_same(
    audio: bytes, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(audio)), max_size=8)))
    bounds = [0, *cuts, len(audio)]
    pieces = [audio[a:b] for a, b in pairwise(bounds) if b > a]
    heard = asyncio.run(responses(Parts(*pcm(*pieces))))
    assert bytes(heard[-1].audio_from(0)) == audio
    assert all(len(r.audio_from(0)) % 2 == 0 for r in heard)


async def test_reports_add_up_and_come_with_the_next_response() -> None:
    usage = TTSUsage(characters=5)
    hello, fleet = SpokenWord(0, 2, 0.0, 0.1), SpokenWord(3, 5, 0.1, 0.2)
    model = Parts(
        Report(request_id="r1"),
        *pcm(b"\1\2"),
        Report(words=(hello,)),
        Report(usage=usage, words=(fleet,)),
    )
    heard = await responses(model)
    assert heard[0].metadata == {"request_id": "r1"}
    assert heard[-1].metadata == {"request_id": "r1", "words": (hello, fleet)}
    assert heard[-1].usage == usage


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([], "without any audio"),
        (pcm(b"\1\2\3"), "middle of a sample"),
        ([*pcm(b"\1\2"), *pcm(b"\1\2", rate=16_000)], "changed its sample rate"),
    ],
)
async def test_what_is_not_whole_is_no_success(parts: Sequence[Audio], why: str) -> None:
    with pytest.raises(IncompleteAudio, match=why) as raised:
        await responses(Parts(*parts))
    assert raised.value.retryable
    with pytest.raises(IncompleteAudio, match=why):
        await Parts(*parts, stream=False).synthesize(Msg("a", "hello"))


@pytest.mark.parametrize(
    ("timeouts", "parts", "which"),
    [
        (Timeouts(first_audio=0.02), [None], "first audio"),
        (Timeouts(first_audio=0.02), [Report(), None], "first audio"),
        (Timeouts(silence=0.02), [*pcm(b"\1\2"), None], "silence between chunks"),
        (Timeouts(call=0.02), [*pcm(b"\1\2"), None], "whole call"),
    ],
)
async def test_each_timeout_names_itself_and_closes_the_call(
    timeouts: Timeouts, parts: Sequence[Audio | Report | None], which: str
) -> None:
    model = Parts(*parts, timeouts=timeouts)
    with pytest.raises(ProviderTimeout, match=f"{which}: .* 0.02 s"):
        await responses(model)
    assert model.closed == 1


async def test_closing_the_responses_closes_the_call() -> None:
    model = Parts(*pcm(b"\1\2"), None)
    stream = await model.synthesize(Msg("a", "hello"))
    assert isinstance(stream, AsyncGenerator)
    await anext(stream)
    await stream.aclose()
    assert model.closed == 1


async def test_a_failure_passes_as_it_is() -> None:
    error = RateLimited("slow down", retry_after=3)
    with pytest.raises(RateLimited) as raised:
        await responses(Parts(*pcm(b"\1\2"), error))
    assert raised.value is error


def test_media_types_tell_rate_and_channels() -> None:
    assert shape_of("audio/L16; rate=16000; channels=2") == (16_000, 2)
    assert shape_of("audio/L16;codec=pcm;rate=24000") == (24_000, 1)
    assert shape_of('audio/pcm;rate="8000"') == (8000, 1)
    assert shape_of("audio/pcm", 22_050) == (22_050, 1)
    assert shape_of("audio/pcm;bitrate=9", 22_050) == (22_050, 1)
    for rate, channels in ((24_000, 1), (16_000, 2)):
        assert shape_of(media_type_for(rate, channels), 1) == (rate, channels)


# --- bodies


def read(body: bytes, size: int, media_type: str = "") -> tuple[bytes, int, int]:
    reader = PcmReader(media_type, 24_000)
    pieces = [reader.feed(body[at : at + size]) for at in range(0, len(body), size)]
    parts = [part for part in (*pieces, reader.finish()) if part]
    return b"".join(p.data for p in parts), parts[0].sample_rate, parts[0].channels


@pytest.mark.parametrize("size", [1, 7, 44, 1000])
def test_a_wav_is_unwrapped_and_its_rate_read(size: int) -> None:
    audio = bytes(range(200))
    junk = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    for length in (0, len(audio), 0xFFFFFFFF, 0x7FFFFFFF):
        header = wav_header(16_000, length)
        assert read(header + audio, size) == (audio, 16_000, 1)
        assert read(header[:12] + junk + header[12:] + audio, size) == (audio, 16_000, 1)
    assert read(wav_header(16_000, len(audio)) + audio + junk, size) == (audio, 16_000, 1)


def test_what_is_no_wav_passes_as_it_is() -> None:
    assert read(b"\1\2", 1) == (b"\1\2", 24_000, 1)
    assert read(b"RIFFabcdABCD1234", 3) == (b"RIFFabcdABCD1234", 24_000, 1)
    assert read(b"\1\2" * 40, 9, "audio/L16; rate=8000; channels=2") == (b"\1\2" * 40, 8000, 2)
    assert PcmReader("", 24_000).finish() is None


def test_a_wav_that_ends_early_is_incomplete() -> None:
    for body in (wav_header(24_000, 100) + bytes(98), wav_header(24_000)[:30]):
        with pytest.raises(IncompleteAudio, match="WAV ended"):
            read(body, 16)


def test_other_formats_are_refused_by_name() -> None:
    for magic, name in ((b"OggS", "Ogg"), (b"fLaC", "FLAC"), (b"ID3\4", "MP3")):
        with pytest.raises(RequestRejected, match=name):
            read(magic + bytes(20), 5)
    as_float = bytearray(wav_header(24_000))
    as_float[20] = 3
    with pytest.raises(RequestRejected, match="format 3"):
        read(bytes(as_float) + bytes(8), 60)


# --- failures


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(status, RequestRejected) for status in (302, 400, 404, 413, 415, 422)],
        *[(status, AuthenticationFailed) for status in (401, 403)],
        *[(status, ProviderUnavailable) for status in (408, 409, 425, 500, 502, 503, 504, 529)],
        (402, QuotaExceeded),
        (429, RateLimited),
    ],
)
def test_a_status_decides_what_may_be_tried_again(status: int, kind: type[ProviderError]) -> None:
    assert kind_of(status) is kind
    assert failure(status, "").message == f"the provider answered with HTTP {status}"


def test_retry_after_in_every_form() -> None:
    assert retry_after({"retry-after": "7"}) == 7.0
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after": "9", "retry-after-ms": "250"}) == 0.25
    soon = datetime.now(UTC) + timedelta(seconds=30)
    assert retry_after({"retry-after": format_datetime(soon, usegmt=True)}) == pytest.approx(
        30, abs=15
    )
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"retry-after": "-3"}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


def test_messages_are_readable_and_hold_no_secret() -> None:
    assert readable("bad key sk-1\n  refused", ("sk-1", "")) == "bad key *** refused"
    assert readable("<html><body>502 Bad Gateway") == ""
    assert len(readable("x" * 5000)) == 400
    error = failure(401, "key sk-1", secrets=("sk-1",), provider_code="c", request_id="r")
    assert (error.message, error.provider_code, error.request_id) == ("key ***", "c", "r")


# --- clients


class Client:
    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


def test_a_client_belongs_to_one_loop_and_one_account_and_ends_with_the_loop() -> None:
    clients: LoopClients[Client] = LoopClients(lambda client: client.close())

    async def use() -> tuple[Client, Client, Client]:
        first, again, other = [await clients.get(name, Client) for name in ("a", "a", "b")]
        assert first is again
        assert not first.closed
        await clients.close("b")
        assert other.closed
        await clients.close("b")
        return first, await clients.get("b", Client), other

    first, second, other = asyncio.run(use())
    assert first.closed
    assert second.closed
    assert second is not other
    later, *_ = asyncio.run(use())
    assert later is not first


def test_equal_arguments_are_one_account() -> None:
    shared = object()
    assert account({"a": 1, "b": shared}) == account({"b": shared, "a": 1})
    assert account({"b": shared}) != account({"b": object()})
