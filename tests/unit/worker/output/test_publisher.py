"""`Publisher` over a stub ledger: sizes of entries, lost audio, full streams."""

from __future__ import annotations

import pytest

from speechfleet.chunks import MAX_ENTRY, MIN_ENTRY, Started
from speechfleet.errors import InvalidRequest
from speechfleet_worker.output import publisher as module
from speechfleet_worker.output.publisher import Forgotten, Publisher
from tests.support.stub_ledger import RATE, StubLease

STARTED = Started(1, "boot", "stub/stub", "", f"audio/pcm;rate={RATE}", RATE)


def make(lease: StubLease, position: int = 0, *, accumulated: bool = False) -> Publisher:
    return Publisher(
        lease, STARTED, position, limit=1 << 30, patience=60.0, accumulated=accumulated
    )


async def test_small_pieces_are_sent_together() -> None:
    lease = StubLease()
    publisher = make(lease)
    for _ in range(5):
        await publisher.write(bytes(MIN_ENTRY // 2))
    assert [len(entry) for entry in lease.entries] == [MIN_ENTRY, MIN_ENTRY]
    await publisher.flush()
    assert len(lease.published) == 5 * (MIN_ENTRY // 2)
    await publisher.flush()
    assert len(lease.entries) == 3


async def test_long_pieces_are_cut() -> None:
    lease = StubLease()
    await make(lease).write(bytes(2 * MAX_ENTRY + MIN_ENTRY))
    assert [len(entry) for entry in lease.entries] == [MAX_ENTRY, MAX_ENTRY, MIN_ENTRY]


async def test_audio_that_the_server_lost_is_sent_again() -> None:
    lease = StubLease()
    publisher = make(lease)
    await publisher.write(b"a" * MIN_ENTRY)
    lease.forgets_audio = MIN_ENTRY
    await publisher.write(b"b" * MIN_ENTRY)
    assert bytes(lease.published) == b"a" * MIN_ENTRY + b"b" * MIN_ENTRY


async def test_audio_before_the_last_segment_is_not_kept() -> None:
    lease = StubLease()
    publisher = make(lease)
    await publisher.write(b"a" * MIN_ENTRY)
    publisher.checkpoint()
    lease.forgets_audio = MIN_ENTRY
    with pytest.raises(Forgotten):
        await publisher.write(b"b" * MIN_ENTRY)


async def test_full_streams_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FULL_STREAM_WAIT_S", 0.0)
    lease = StubLease()
    lease.full = 3
    await make(lease).write(bytes(MIN_ENTRY))
    assert lease.writes == ["publish"]


async def test_the_accumulated_wire_repeats_all_audio() -> None:
    lease = StubLease()
    publisher = make(lease, accumulated=True)
    await publisher.write(b"a" * MIN_ENTRY)
    await publisher.write(b"b" * MIN_ENTRY)
    assert lease.entries == [b"a" * MIN_ENTRY, b"a" * MIN_ENTRY + b"b" * MIN_ENTRY]
    with pytest.raises(Forgotten):
        make(lease, position=960, accumulated=True)


async def test_the_accumulated_wire_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ACCUMULATED", MIN_ENTRY)
    publisher = make(StubLease(), accumulated=True)
    await publisher.write(bytes(MIN_ENTRY))
    with pytest.raises(InvalidRequest, match="accumulated") as caught:
        await publisher.write(bytes(MIN_ENTRY))
    assert caught.value.code == "audio_too_long"
