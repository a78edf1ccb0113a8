"""Byte ranges and conditions of requests for stored audio (RFC 9110, 13 and 14). No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from speechfleet.gateway.errors import RangeRefused
from speechfleet.gateway.routing import is_head

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class ByteRange:
    """The bytes [start, end) of ``size``; ``is_partial``: the client asked for a part."""

    start: int
    end: int
    size: int
    is_partial: bool

    @classmethod
    def of(cls, request: Request, size: int, etag: str) -> ByteRange:
        """Return what a request's header asks for. Raises RangeRefused.

        Several ranges at once, what is no range, and HEAD are answered with the whole.
        """
        whole = cls(0, size, size, is_partial=False)
        match = _RANGE.fullmatch(request.headers.get("range", "").strip())
        if match is None or not (match[1] or match[2]) or is_head(request.scope):
            return whole
        if request.headers.get("if-range", etag) != etag:
            return whole
        if match[1]:
            start, end = int(match[1]), min(int(match[2] or size), size - 1) + 1
        else:
            start, end = max(0, size - int(match[2])), size
        if start >= size or (match[2] and match[1] and int(match[2]) < start):
            raise RangeRefused(size)
        return cls(start, end, size, is_partial=True)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an answer with these bytes."""
        headers = {"accept-ranges": "bytes", "content-length": str(self.end - self.start)}
        if self.is_partial:
            headers["content-range"] = f"bytes {self.start}-{self.end - 1}/{self.size}"
        return headers


def has_version(if_none_match: str, etag: str) -> bool:
    """Tell whether the client has this version (weak tags compare as equal)."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags


def wants_version(if_match: str, etag: str) -> bool:
    """Tell whether the client accepts this version (weak tags never match)."""
    tags = [tag.strip() for tag in if_match.split(",")]
    return "*" in tags or etag in tags
