"""Entries of a manifest in the store: only what a fleet writes is used."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from speechfleet.batch.remote_manifest import RemoteManifest, check_entry
from speechfleet.errors import InvalidRequest

GOOD: dict[str, Any] = {
    "id": "a", "text": "Hello.", "state": "SUCCEEDED", "digest": "d", "object": "audio/x/a.wav",
    "format": "wav",
}  # fmt: skip

WRONG: dict[str, Any] = {
    "a list": [],
    "no digest": {name: value for name, value in GOOD.items() if name != "digest"},
    "an id that is none": {**GOOD, "id": "a\0"},
    "an id that is too long": {**GOOD, "id": "x" * 200},
    "a state that is none": {**GOOD, "state": "DONE"},
    "a format that is a path": {**GOOD, "format": "wav/../../x"},
    "a format that is a list": {**GOOD, "format": ["wav"]},
    "an absolute object": {**GOOD, "object": "/etc/passwd"},
    "an object above the store": {**GOOD, "object": "../secret"},
    "an object that is none": {**GOOD, "object": 7},
}


def test_what_a_fleet_writes_is_taken() -> None:
    assert check_entry(GOOD) is GOOD
    assert check_entry({name: GOOD[name] for name in ("id", "text", "state", "digest")})


@pytest.mark.parametrize("case", WRONG)
def test_what_no_fleet_writes_is_refused(case: str) -> None:
    with pytest.raises(InvalidRequest):
        check_entry(WRONG[case])


class Part:
    """A feed with one part, and the store that has it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def parts(self, namespace: str, id: str) -> list[str]:
        return ["p"]

    async def get(self, key: str) -> bytes:
        return self._content


async def test_one_bad_line_does_not_hide_the_others() -> None:
    lines = [GOOD, WRONG["a format that is a path"], {**GOOD, "id": "b"}]
    content = (
        b"\n".join(json.dumps(line).encode() for line in lines) + b"\n{nope\n" + b"[" * 10_000
    )
    part: Any = Part(content)
    manifest = RemoteManifest(cast("Any", part), cast("Any", part), "default", "batch")
    entries = [entry["id"] async for group in manifest.entries() for entry in group]
    assert entries == ["a", "b"]
    assert [why.partition(": ")[0] for why in manifest.refused] == ["p:2", "p:4", "p:5"]
