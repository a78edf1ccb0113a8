"""A dialogue: a text whose parts are spoken by several voices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict

from speechfleet.errors import EmptyText, InvalidRequest

BETWEEN_PARTS = "\n\n"
MAX_PARTS = 10_000


class DialoguePart(TypedDict):
    """A part of a dialogue: its text, and the voice that speaks it, else the job's.

    ``provider/model:voice`` is a voice of another model.
    """

    text: str
    voice: NotRequired[str]


class VoicedPart(NamedTuple):
    """The part [start, end) of a job's text, in code points, and its voice; "" is the job's."""

    voice: str
    start: int
    end: int


def model_and_voice(name: str) -> tuple[str, str]:
    """Split a voice that names its model, ``provider/model:voice``; "" is the job's own."""
    model, colon, voice = name.partition(":")
    provider, slash, rest = model.partition("/")
    return (model, voice) if colon and provider and slash and rest else ("", name)


def join_parts(parts: Sequence[DialoguePart]) -> tuple[str, tuple[VoicedPart, ...]]:
    """Return the text of a dialogue, and where its parts lie in it.

    Raises InvalidRequest, and EmptyText for a part with nothing to say, with the part's number.
    """
    if not parts:
        raise EmptyText("there is nothing to say: the dialogue has no parts")
    if len(parts) > MAX_PARTS:
        raise InvalidRequest(f"the dialogue has {len(parts):,} parts; {MAX_PARTS:,} are taken")
    voiced: list[VoicedPart] = []
    at = 0
    for number, part in enumerate(parts, 1):
        text, voice = _read(part, number)
        voiced.append(VoicedPart(voice, at, at + len(text)))
        at += len(text) + len(BETWEEN_PARTS)
    return BETWEEN_PARTS.join(part["text"] for part in parts), tuple(voiced)


def _read(part: Any, number: int) -> tuple[str, str]:
    if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
        raise InvalidRequest(f"part {number} of the dialogue is no mapping with a 'text'")
    if unknown := sorted(map(str, part.keys() - {"text", "voice"})):
        raise InvalidRequest(
            f"part {number} of the dialogue has {unknown[0]!r}: text and voice only"
        )
    text, voice = part["text"], part.get("voice") or ""
    if not isinstance(voice, str):
        raise InvalidRequest(f"part {number} of the dialogue: voice={voice!r} is no name")
    if not any(character.isalnum() for character in text):
        raise EmptyText(f"part {number} of the dialogue has nothing to say")
    return text, voice
