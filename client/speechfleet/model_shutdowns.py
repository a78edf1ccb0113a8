"""Days on which providers close models, so that nobody is surprised by them.

https://platform.openai.com/docs/deprecations
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

OPENAI_SUCCESSOR = "openai/gpt-realtime-2.1-mini"


@dataclass(frozen=True)
class Shutdown:
    """The last day of a model is the one before ``day`` (UTC). ``successor``: what to use then."""

    day: date
    successor: str

    def warning(self, model: str, today: date | None = None) -> str:
        """Say in one line what happens when, and what to do."""
        today = today or datetime.now(UTC).date()
        closes = "closes on" if today < self.day else "was closed on"
        return f"{model} {closes} {self.day.isoformat()}: change to {self.successor}"


_SPEECH = Shutdown(date(2027, 1, 6), OPENAI_SUCCESSOR)
_FIRST_REALTIME = Shutdown(date(2027, 1, 20), OPENAI_SUCCESSOR)

SHUTDOWNS: Mapping[str, Shutdown] = {
    "openai/gpt-4o-mini-tts": _SPEECH,
    "openai/gpt-4o-mini-tts-2025-03-20": _SPEECH,
    "openai/gpt-4o-mini-tts-2025-12-15": _SPEECH,
    "openai/tts-1": _SPEECH,
    "openai/tts-1-1106": _SPEECH,
    "openai/tts-1-hd": _SPEECH,
    "openai/tts-1-hd-1106": _SPEECH,
    "openai/gpt-realtime": _FIRST_REALTIME,
    "openai/gpt-realtime-mini": _FIRST_REALTIME,
}


def shutdown_warning(model: str, today: date | None = None) -> str:
    """Return the warning for a model whose end is known; "" for others."""
    shutdown = SHUTDOWNS.get(model)
    return shutdown.warning(model, today) if shutdown else ""
