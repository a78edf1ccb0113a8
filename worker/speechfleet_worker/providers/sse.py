"""Server-sent events that carry JSON, as speech servers send them."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from speechfleet.errors import IncompleteAudio


async def events(lines: AsyncIterator[str]) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON objects of a stream of lines, tolerant of ``event:`` lines and ``[DONE]``.

    Raises IncompleteAudio for data that does not parse: such a stream was cut or garbled.
    """
    async for line in lines:
        name, _, value = line.partition(":")
        value = value.strip()
        if name != "data" or value in ("", "[DONE]"):
            continue
        try:
            event = json.loads(value)
        except ValueError:
            raise IncompleteAudio("an event that does not parse") from None
        if isinstance(event, dict):
            yield event


def decoded(encoded: object) -> bytes:
    """The bytes of a base64 field. Raises IncompleteAudio where it is none."""
    try:
        return b64decode(str(encoded or ""), validate=True)
    except ValueError:
        raise IncompleteAudio("audio that is no base64") from None
