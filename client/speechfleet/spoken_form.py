"""The spoken form of a job: the way in which its text becomes what is heard."""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from speechfleet.dialogue import VoicedPart
from speechfleet.errors import InvalidRequest
from speechfleet.fallback import FallbackVoice, read_fallback
from speechfleet.json_numbers import is_number
from speechfleet.lexicon import Lexicon, LexiconEntry, read_lexicon
from speechfleet.speakable import SpeakableMode, check_pauses

SPOKEN_FORM_FIELDS = ("speakable", "lexicon", "loudness", "fallback")
"""The keywords that make a `SpokenForm`."""
QUIETEST_LUFS, LOUDEST_LUFS = -70.0, -5.0
LEXICON_BYTES = 256 << 10
"""The most that the entries of one job may take, as JSON."""


@dataclass(frozen=True)
class SpokenForm:
    """All that shapes the speech of a job beside its text, model, voice and options.

    ``speakable``: what of the text is markup. ``lexicon``: the entries that the text uses.
    ``loudness``: of the stored audio, in LUFS; None leaves it as it is. ``parts``: of a
    dialogue, in the order of the text. ``fallback``: who speaks the rest where the model
    cannot; None leaves that to the setting, () to nobody.
    """

    speakable: SpeakableMode = "off"
    lexicon: tuple[LexiconEntry, ...] = ()
    loudness: float | None = None
    parts: tuple[VoicedPart, ...] = ()
    fallback: tuple[FallbackVoice, ...] | None = None

    def encode(self) -> str:
        """Encode what differs from a plain job as JSON, in one canonical form; "" for nothing."""
        fields: dict[str, Any] = {}
        if self.speakable != "off":
            fields["speakable"] = self.speakable
        if self.lexicon:
            fields["lexicon"] = [list(entry) for entry in self.lexicon]
        if self.loudness is not None:
            fields["loudness"] = self.loudness
        if self.parts:
            fields["parts"] = [list(part) for part in self.parts]
        if self.fallback is not None:
            fields["fallback"] = [voice.encode() for voice in self.fallback]
        if not fields:
            return ""
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def decode(cls, data: str) -> SpokenForm:
        """Read what `encode` wrote. Raises ValueError, TypeError."""
        if not data:
            return PLAIN
        fields = json.loads(data)
        return cls(
            speakable=fields.get("speakable", "off"),
            lexicon=tuple(LexiconEntry(*entry) for entry in fields.get("lexicon", ())),
            loudness=fields.get("loudness"),
            parts=tuple(VoicedPart(*part) for part in fields.get("parts", ())),
            fallback=_decode_fallback(fields.get("fallback")),
        )

    @property
    def without_fallback(self) -> SpokenForm:
        """The form that is wanted: a fallback voice is only made do with."""
        return self if self.fallback is None else replace(self, fallback=None)

    def check(self, text: str) -> None:
        """Raise InvalidRequest for what cannot be spoken so."""
        if self.speakable not in get_args(SpeakableMode):
            shown = ", ".join(repr(mode) for mode in get_args(SpeakableMode))
            raise InvalidRequest(f"speakable={self.speakable!r}: it must be one of {shown}")
        if self.speakable != "off":
            check_pauses(text)
        if self.lexicon and len(self.encode().encode()) > LEXICON_BYTES:
            raise InvalidRequest(
                f"the lexicon has {len(self.lexicon):,} entries for this text, more than "
                f"{LEXICON_BYTES >> 10} KB: leave out what the text does not hold"
            )
        _check_loudness(self.loudness)


PLAIN = SpokenForm()
"""The form of a text that is spoken as it stands."""


def take_spoken_form(fields: MutableMapping[str, Any], text: str | None) -> SpokenForm:
    """Take the keywords of `SPOKEN_FORM_FIELDS` out of ``fields``; return the form they make.

    Of a lexicon, the entries that the text uses are kept; all of them where the text is not
    known yet (None). Raises InvalidRequest.
    """
    taken = ((name, fields.pop(name, None)) for name in SPOKEN_FORM_FIELDS)
    given = {name: value for name, value in taken if value is not None}
    if not given:
        return PLAIN
    if "fallback" in given:
        given["fallback"] = read_fallback(given["fallback"])
    lexicon = Lexicon.of(given.pop("lexicon", ()))
    entries = lexicon.entries if text is None else lexicon.used_in(text)
    return SpokenForm(lexicon=entries, **given)


def open_lexicon(value: object) -> Lexicon:
    """Return the lexicon that a keyword stands for: a file, a mapping, entries. InvalidRequest."""
    return read_lexicon(value) if isinstance(value, Path | str) else Lexicon.of(value)


def with_usual_form(
    fields: Mapping[str, Any], *, speakable: SpeakableMode, lexicon: Path | None
) -> dict[str, Any]:
    """Return the keywords with those of the settings added, and the lexicon's file read.

    Raises InvalidRequest.
    """
    completed = dict(fields)
    if speakable != "off":
        completed.setdefault("speakable", speakable)
    if completed.get("lexicon") is None and lexicon is not None:
        completed["lexicon"] = lexicon
    if completed.get("lexicon") is not None:
        completed["lexicon"] = open_lexicon(completed["lexicon"])
    return completed


def _decode_fallback(values: Any) -> tuple[FallbackVoice, ...] | None:
    return None if values is None else tuple(map(FallbackVoice.decode, values))


def _check_loudness(loudness: object) -> None:
    if loudness is None:
        return
    if is_number(loudness) and QUIETEST_LUFS <= loudness <= LOUDEST_LUFS:
        return
    raise InvalidRequest(
        f"loudness={loudness!r}: it must be a number of LUFS from {QUIETEST_LUFS:g} to "
        f"{LOUDEST_LUFS:g}, such as -16 for podcasts or -23 for broadcasts"
    )
