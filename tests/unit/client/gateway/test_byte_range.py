"""Byte ranges and versions of stored audio."""

from __future__ import annotations

import pytest
from fastapi import Request

from speechfleet.gateway.byte_range import ByteRange, has_version, wants_version
from speechfleet.gateway.errors import RangeRefused


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    ("asked", "start", "end", "is_partial"),
    [
        ("", 0, 1000, False),
        ("bytes=0-", 0, 1000, True),
        ("bytes=0-0", 0, 1, True),
        ("bytes=10-5000", 10, 1000, True),
        ("bytes=-1", 999, 1000, True),
        ("bytes=-5000", 0, 1000, True),
        ("bytes=0-1,5-6", 0, 1000, False),
        ("bytes=-", 0, 1000, False),
        ("bites=0-1", 0, 1000, False),
    ],
)
def test_ranges(asked: str, start: int, end: int, is_partial: bool) -> None:
    wanted = ByteRange.of(request(range=asked), 1000, '"a"')
    assert (wanted.start, wanted.end, wanted.is_partial) == (start, end, is_partial)
    assert wanted.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=5-4", "bytes=-0"])
def test_ranges_of_nothing(asked: str) -> None:
    with pytest.raises(RangeRefused):
        ByteRange.of(request(range=asked), 1000, '"a"')


def test_a_range_of_another_version_is_the_whole() -> None:
    assert not ByteRange.of(request(range="bytes=1-2", if_range='"b"'), 1000, '"a"').is_partial
    assert ByteRange.of(request(range="bytes=1-2", if_range='"a"'), 1000, '"a"').is_partial


def test_a_range_of_nothing_tells_the_size() -> None:
    with pytest.raises(RangeRefused) as caught:
        ByteRange.of(request(range="bytes=1000-"), 1000, '"a"')
    assert caught.value.headers == {"content-range": "bytes */1000"}


def test_head_has_no_ranges() -> None:
    asked = request(range="bytes=0-1")
    asked.scope["speechfleet.head"] = True
    assert not ByteRange.of(asked, 1000, '"a"').is_partial


@pytest.mark.parametrize(
    ("if_none_match", "known"),
    [('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("", False)],
)
def test_versions_that_a_client_has(if_none_match: str, *, known: bool) -> None:
    assert has_version(if_none_match, '"a"') is known


@pytest.mark.parametrize(
    ("if_match", "accepted"), [('"a"', True), ("*", True), ('W/"a"', False), ('"b"', False)]
)
def test_versions_that_a_client_accepts(if_match: str, *, accepted: bool) -> None:
    assert wants_version(if_match, '"a"') is accepted
