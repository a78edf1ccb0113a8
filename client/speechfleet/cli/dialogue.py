"""A dialogue from a file: lines ``name: text``, and a voice for each name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from speechfleet.dialogue import DialoguePart, model_and_voice
from speechfleet.errors import EmptyText, IllegalText, InvalidRequest

_LINE = re.compile(r"(?P<name>[^\s:][^:]{0,79}?)\s*:\s*(?P<text>.*)")


@dataclass(frozen=True)
class Cast:
    """The voices of a dialogue by the names of its speakers, and the first model they name."""

    voices: dict[str, str] = field(default_factory=dict)
    model: str | None = None

    @classmethod
    def of(cls, given: Sequence[str]) -> Cast:
        """Read ``name=voice`` or ``name=provider/model:voice``. Raises InvalidRequest."""
        voices: dict[str, str] = {}
        for item in given:
            name, equals, voice = item.partition("=")
            if not equals or not name.strip():
                raise InvalidRequest(
                    f"--voice {item!r}: of a dialogue it is NAME=VOICE or NAME=MODEL:VOICE"
                )
            voices[name.strip()] = voice
        models = (model_and_voice(voice)[0] for voice in voices.values())
        return cls(voices, next(filter(None, models), None))


def read_dialogue(path: Path, cast: Cast) -> list[DialoguePart]:
    """Read the parts of a dialogue; a line that begins with a blank continues its part.

    Raises InvalidRequest with file and line, EmptyText, IllegalText.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IllegalText(f"{path} is not UTF-8: see byte {error.start}") from None
    except OSError as error:
        raise InvalidRequest(f"--dialogue {path}: {error.strerror}") from None
    parts: list[DialoguePart] = []
    for place, name, lines in _parts(path, text):
        if name not in cast.voices:
            known = ", ".join(cast.voices) or "none"
            raise InvalidRequest(
                f"{place}: {name!r} has no voice: add --voice '{name}=VOICE' (there are: {known})"
            )
        spoken = "\n".join(line for line in lines if line)
        if not spoken:
            raise EmptyText(f"{place}: {name!r} has nothing to say")
        parts.append({"voice": cast.voices[name], "text": spoken})
    return parts


def _parts(path: Path, text: str) -> Iterator[tuple[str, str, list[str]]]:
    place, name, lines = "", "", list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if line[0].isspace() and name:
            lines.append(line.strip())
            continue
        if name:
            yield place, name, lines
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise InvalidRequest(
                f"{path}:{number}: {line[:40]!r} is not NAME: TEXT; begin a line that goes on "
                "with a blank"
            )
        place, name, lines = f"{path}:{number}", found["name"], [found["text"].strip()]
    if name:
        yield place, name, lines
