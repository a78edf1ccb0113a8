"""Errors as messages, in the one form that the clients of each socket know."""

from __future__ import annotations

import uuid
from typing import Any

from speechfleet.errors import SpeechFleetError
from speechfleet.gateway.error_responses import body_of


def text_error(error: SpeechFleetError) -> dict[str, Any]:
    """Return the message of a socket for text: flat, as vLLM-Omni's clients read it."""
    about = {"code": error.code, "message": error.message, "retryable": error.retryable}
    return {"type": "error", **about}


def realtime_error(error: SpeechFleetError, event_id: object = None) -> dict[str, Any]:
    """Return the event of OpenAI's realtime protocol; ``event_id``: of the event at fault."""
    about = {**body_of(error)["error"], "event_id": event_id}
    return {"type": "error", "event_id": new_event_id(), "error": about}


def new_event_id() -> str:
    """Return the id of a new event of a server."""
    return f"event_{uuid.uuid4().hex[:20]}"
