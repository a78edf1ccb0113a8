"""Fallback voices: who speaks the rest of a job when its provider cannot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

from speechfleet.bounds import check_name, check_options
from speechfleet.errors import InvalidRequest

MOST_VOICES = 8
"""Fallback voices of one job."""
_FIELDS = {"model", "voice", "voices", "options"}


class FallbackOrder(TypedDict):
    """A fallback voice as a program gives it.

    ``voice``: that speaks in the place of any voice. ``voices``: voice of the first choice ->
    voice of this model. ``options``: of this model's provider.
    """

    model: str
    voice: NotRequired[str]
    voices: NotRequired[Mapping[str, str]]
    options: NotRequired[Mapping[str, Any]]


class FallbackView(TypedDict):
    """A change of voice as programs and manifests show it.

    ``segment``: from which on ``model`` speaks with ``voice``; ``code``: of the error before it.
    """

    segment: int
    model: str
    voice: str
    code: str


FallbackSource = str | Sequence[str | FallbackOrder]
"""Fallback voices in their order: "provider/model[:voice]", or a `FallbackOrder`.

A str may hold several, separated by commas.
"""


@dataclass(frozen=True)
class FallbackVoice:
    """A model and voice that may speak the rest of a job."""

    model: str
    voice: str = ""
    voices: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        """The part of the model before the first slash."""
        return self.model.partition("/")[0]

    def voice_for(self, voice: str, known: Iterable[str]) -> str:
        """Return the voice that speaks in the place of one of the first choice.

        By the table, else the one that was named, else the same name where it is ``known``,
        else "": the model's own.
        """
        return self.voices.get(voice) or self.voice or (voice if voice in known else "")

    def encode(self) -> list[Any]:
        """Return JSON values, which `decode` reads."""
        return [self.model, self.voice, dict(self.voices), dict(self.options)]

    @classmethod
    def decode(cls, values: Sequence[Any]) -> FallbackVoice:
        """Read what `encode` made. Raises TypeError."""
        return cls(*values)

    def check(self) -> None:
        """Raise InvalidRequest for names and options that no record takes."""
        provider, slash, name = self.model.partition("/")
        if not (provider and slash and name):
            raise InvalidRequest(
                f"fallback: {self.model[:60]!r} is no model: name it provider/model[:voice]"
            )
        for what, given in (
            ("model of a fallback", self.model),
            *(("voice of a fallback", each) for each in (self.voice, *self.voices.values())),
        ):
            check_name(what, given)
            if not given.isprintable():
                raise InvalidRequest(f"the {what} holds a control character: {given[:40]!r}")
        check_options({**self.options, "voices": self.voices})


@dataclass(frozen=True)
class Turn:
    """A change of voice: from the segment ``first`` on, ``by`` speaks with ``voice``.

    ``code``: of the error for which the voice before it gave up.
    """

    first: int
    by: FallbackVoice
    voice: str
    code: str

    def encode(self) -> list[Any]:
        """Return JSON values, which `decode_turns` reads."""
        return [self.first, self.voice, self.code, self.by.encode()]

    def as_view(self) -> FallbackView:
        """Return it as programs and manifests show it."""
        return {
            "segment": self.first, "model": self.by.model, "voice": self.voice, "code": self.code,
        }  # fmt: skip


def encode_turns(turns: Sequence[Turn]) -> str:
    """Write as JSON."""
    return json.dumps([turn.encode() for turn in turns], separators=(",", ":"))


def decode_turns(data: str) -> tuple[Turn, ...]:
    """Read what `encode_turns` wrote. Raises ValueError, TypeError."""
    if not data:
        return ()
    return tuple(
        Turn(first, FallbackVoice.decode(by), voice, code)
        for first, voice, code, by in json.loads(data)
    )


def read_fallback(source: object) -> tuple[FallbackVoice, ...]:
    """Read fallback voices as `FallbackSource` has them. Raises InvalidRequest."""
    if isinstance(source, str):
        source = [part.strip() for part in source.split(",") if part.strip()]
    if isinstance(source, Mapping) or not isinstance(source, Iterable):
        raise InvalidRequest(
            f"fallback={source!r}: it must be a list of 'provider/model[:voice]' or of mappings "
            "with model, voice, voices and options"
        )
    voices = tuple(map(_read_one, source))
    if len(voices) > MOST_VOICES:
        raise InvalidRequest(
            f"{len(voices)} fallback voices are too many; {MOST_VOICES} are taken"
        )
    for voice in voices:
        voice.check()
    if len({voice.model for voice in voices}) < len(voices):
        raise InvalidRequest("fallback: each model may be named once")
    return voices


def _read_one(value: object) -> FallbackVoice:
    if isinstance(value, FallbackVoice):
        return value
    if isinstance(value, str):
        model, _, voice = value.partition(":")
        return FallbackVoice(model, voice)
    if not isinstance(value, Mapping) or not isinstance(value.get("model"), str):
        raise InvalidRequest(f"fallback: {value!r} is neither 'provider/model[:voice]' nor a "
                             "mapping with a model")  # fmt: skip
    if unknown := sorted(map(str, value.keys() - _FIELDS)):
        raise InvalidRequest(
            f"fallback: {unknown[0]!r} is no field of a fallback voice; there are "
            f"{', '.join(sorted(_FIELDS))}"
        )
    voice, voices, options = value.get("voice") or "", value.get("voices"), value.get("options")
    if not isinstance(voice, str):
        raise InvalidRequest(f"fallback: voice={voice!r} is no name")
    for what, table in (("voices", voices), ("options", options)):
        if table is not None and not isinstance(table, Mapping):
            raise InvalidRequest(f"fallback: {what}={table!r} is no mapping")
    names = {str(ours): theirs for ours, theirs in (voices or {}).items()}
    if not all(isinstance(name, str) for name in names.values()):
        raise InvalidRequest("fallback: voices maps names to names")
    return FallbackVoice(value["model"], voice, names, dict(options or {}))
