"""A publisher waits for room in the streams, but not for ever."""

from __future__ import annotations

from typing import Any, cast

import pytest

from speechfleet.chunks import MIN_ENTRY, Started
from speechfleet.errors import StreamFull
from speechfleet.ledger import NoRoom
from speechfleet_worker.output import publisher
from speechfleet_worker.output.publisher import Publisher

STARTED = Started(1, "boot", "espeak/espeak-ng", "", "audio/pcm;rate=8000", 8000)


class CrowdedLease:
    """A lease whose stream finds room once it may drop audio that is not stored."""

    def __init__(self, *, finds_room: bool) -> None:
        self.finds_room = finds_room
        self.asked: list[bool] = []

    async def publish(self, start: int, data: bytes, *, drop_unstored: bool, **_: object) -> int:
        self.asked.append(drop_unstored)
        if drop_unstored and self.finds_room:
            return start + len(data)
        raise NoRoom


def publish_to(lease: CrowdedLease, patience: float) -> Publisher:
    return Publisher(cast("Any", lease), STARTED, 0, limit=1, patience=patience, accumulated=False)


async def test_audio_that_is_not_stored_is_dropped_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publisher, "FULL_STREAM_WAIT_S", 0.0)
    monkeypatch.setattr(publisher, "DROP_UNSTORED_AFTER_S", 0.001)
    lease = CrowdedLease(finds_room=True)
    await publish_to(lease, patience=60.0).write(bytes(MIN_ENTRY))
    assert not lease.asked[0]
    assert lease.asked[-1]


async def test_without_any_room_it_gives_up_and_says_so() -> None:
    lease = CrowdedLease(finds_room=False)
    with pytest.raises(StreamFull, match="SPEECHFLEET_STREAM_BYTES") as caught:
        await publish_to(lease, patience=0.0).write(bytes(MIN_ENTRY))
    assert (caught.value.code, caught.value.retryable) == ("stream_full", True)
