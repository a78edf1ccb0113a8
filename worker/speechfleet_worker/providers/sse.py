"""Server-sent events that carry JSON, as speech servers send them."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from speechfleet.errors import IncompleteAudio


def event_in(line: str) -> dict[str, Any]:
    """Read the JSON object of one line; {} for other lines, such as ``event:`` and ``[DONE]``.

    Raises IncompleteAudio for data that does not parse: such a stream was cut or garbled.
    """
    name, _, value = line.partition(":")
    value = value.strip()
    if name != "data" or value in ("", "[DONE]"):
        return {}
    try:
        event = json.loads(value)
    except ValueError:
        raise IncompleteAudio("an event that does not parse") from None
    return event if isinstance(event, dict) else {}


def decoded(encoded: object) -> bytes:
    """Decode a base64 field. Raises IncompleteAudio where it is none."""
    try:
        return b64decode(str(encoded or ""), validate=True)
    except ValueError:
        raise IncompleteAudio("audio that is no base64") from None
