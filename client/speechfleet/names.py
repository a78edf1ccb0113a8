"""Percent-encoding of names, for Redis keys and object paths."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
_PATH = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch


@lru_cache(maxsize=4096)
def encode(part: str) -> str:
    if _PLAIN(part):
        return part
    # An item of a batch is "<batch>/<item>", and there are many.
    return part.replace("/", "%2F") if _PATH(part) else quote(part, safe="")
