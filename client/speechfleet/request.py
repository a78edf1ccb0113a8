"""A request: the text of a job, its model and voice, and the form of its audio."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from speechfleet.audio.formats import FORMATS
from speechfleet.bounds import NAME_CHARACTERS, check_name, check_options
from speechfleet.dialogue import model_and_voice
from speechfleet.errors import (
    EmptyText,
    IllegalId,
    IllegalText,
    InvalidRequest,
    TextTooLong,
    UnknownFormat,
    UnknownModel,
)
from speechfleet.provider_options import OF_EVERY_MODEL
from speechfleet.spoken_form import PLAIN, SpokenForm


class Lane(StrEnum):
    """The kind of a job's queue, which is named ``speechfleet.1.<lane>.<provider>``."""

    SESSION = "session"
    LIVE = "live"
    BATCH = "batch"


SegmentMode = Literal["sentence", "paragraph"]
Wire = Literal["delta", "accumulated"]
LONGEST_LANGUAGE = 50
"""Characters of a language's tag or name; one that nobody knows is no hint, and no error."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSPEAKABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_CONTROL_BYTES = bytes(code for code in (*range(32), 127) if chr(code) not in "\t\n\r")


def _unspeakable(text: str) -> re.Match[str] | None:
    """Find the first control character or lone surrogate.

    The bytes of the text are checked first, which takes a tenth of the time.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return _UNSPEAKABLE.search(text)
    clean = len(encoded.translate(None, _CONTROL_BYTES)) == len(encoded)
    return None if clean else _UNSPEAKABLE.search(text)


def check_id(id: str) -> str:
    """Return a legal msg.id or namespace as it is. Raises IllegalId."""
    if not isinstance(id, str) or not 1 <= len(id) <= 256 or _CONTROL.search(id):
        raise IllegalId(
            "an id has 1 to 256 characters, none of them a control character; "
            f"this one is {id[:40]!r}" + ("..." if len(str(id)) > 40 else "")
        )
    return id


def check_text(text: str, limit: int, setting: str) -> None:
    """Raise TextTooLong, which names the setting, or IllegalText."""
    if len(text) > limit:
        raise TextTooLong(
            f"the text has {len(text):,} characters, the fleet takes {limit:,} "
            f"({setting}); split it into several messages"
        )
    if bad := _unspeakable(text):
        raise IllegalText(
            f"character U+{ord(bad[0]):04X} at position {bad.start()} cannot be spoken; "
            "remove control characters and lone surrogates"
        )


@dataclass(frozen=True)
class Request:
    """The request of a job. Two requests are the same where their `digest` is.

    ``options`` are the provider's own (JSON values). ``live``: publish audio to the stream
    while it is made; None means every lane but ``batch``. ``wire="accumulated"`` repeats all
    the audio so far in every entry (at most 4 MB).
    """

    text: str
    model: str
    voice: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    format: str = "wav"
    lane: Lane = Lane.LIVE
    segments: SegmentMode | None = None
    language: str = ""
    """A tag such as "de", or a name such as "German": what the text is written in, for cutting it,
    where the voice and the options do not tell. "" lets the text itself decide."""
    form: SpokenForm = PLAIN
    """The way in which the text is made into what is spoken."""
    live: bool | None = None
    wire: Wire = "delta"
    cache: bool = True
    name: str = ""
    role: str = "assistant"
    open: bool = False
    """More text may come: the request of a session that is not complete."""
    trace: str = ""
    """The W3C traceparent of its submit; it shapes nothing in the audio."""
    batch: str = ""
    """The batch that the job is an item of; "" for none."""

    @property
    def provider(self) -> str:
        """The part of the model before the first slash."""
        return self.model.partition("/")[0]

    @property
    def segment_mode(self) -> SegmentMode:
        """The unit that the text is cut into: as asked, or the usual one of the lane."""
        return self.segments or self._usual_segments

    @property
    def _usual_segments(self) -> SegmentMode:
        return "paragraph" if self.lane is Lane.BATCH else "sentence"

    @property
    def published(self) -> bool:
        """Tell whether the audio goes through Redis."""
        return self.lane is not Lane.BATCH if self.live is None else self.live

    @property
    def voices(self) -> tuple[str, ...]:
        """The distinct voices that it needs, as `with_voice` takes them."""
        parts = self.form.parts
        if not parts:
            return (self.voice,)
        return tuple(dict.fromkeys(part.voice or self.voice for part in parts))

    def with_voice(self, name: str) -> Request:
        """Return the request as that voice speaks it; "" is its own.

        A voice may name another model, see `dialogue.model_and_voice`. Of the options that one
        gets the speed alone: the others are of the job's own model.
        """
        if not name or name == self.voice:
            return self
        model, voice = model_and_voice(name)
        if model in ("", self.model):
            return replace(self, voice=voice)
        options = {key: self.options[key] for key in OF_EVERY_MODEL & self.options.keys()}
        return replace(self, model=model, voice=voice, options=options)

    @property
    def providers(self) -> set[str]:
        """The providers of all its voices."""
        return {self.with_voice(voice).provider for voice in self.voices} | {self.provider}

    @property
    def digest(self) -> str:
        """Digest all that shapes the audio: text, its form, model, voice, options, format, wire.

        The text of a session is left out: it stays the same session while its text grows. So are
        fallback voices, so that a batch may be resumed with others.
        """
        text = "" if self.lane is Lane.SESSION else self.text
        parts: tuple[str, ...] = (
            text, self.model, self.voice, self.options_json, self.format, self.wire,
        )  # fmt: skip
        if self.segment_mode != self._usual_segments:
            parts = (*parts, self.segment_mode)
        if self.language:
            parts = (*parts, f"language {self.language}")
        if form := self.form.without_fallback.encode():
            parts = (*parts, f"form {form}")
        return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()

    @property
    def options_json(self) -> str:
        """The options as JSON, in one canonical form."""
        if not self.options:
            return "{}"
        return json.dumps(self.options, sort_keys=True, separators=(",", ":"))

    def check(self, max_text: int) -> None:
        """Raise InvalidRequest where it is wrong, as far as that shows without the provider."""
        if not self.open:
            if not self.text.strip():
                raise EmptyText("there is nothing to say: the text is empty or white space")
            check_text(self.text, max_text, "SPEECHFLEET_MAX_TEXT")
        self._check_names()
        provider, slash, model = self.model.partition("/")
        if not (provider and slash and model):
            raise UnknownModel(self.model, note="(a model is named provider/model)")
        if not isinstance(self.format, str) or self.format not in FORMATS:
            raise UnknownFormat(self.format, FORMATS)
        if len(self.language) > LONGEST_LANGUAGE or _CONTROL.search(self.language):
            raise InvalidRequest(
                f"language={self.language[:40]!r}: it must be a tag such as 'de', or 'German'"
            )
        self.form.check(self.text)
        if self.form.fallback and any(v.model == self.model for v in self.form.fallback):
            raise InvalidRequest(f"fallback: {self.model} is the model of the request itself")
        if not self.options:
            return
        check_options(self.options)
        try:
            self.options_json.encode()
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"the options must be JSON values: {error}") from None

    def _check_names(self) -> None:
        together = "".join((self.model, self.name, self.role, *self.voices))
        # All in one look: a corpus has a hundred thousand requests, and hardly one is refused.
        if len(together) <= NAME_CHARACTERS and not _CONTROL.search(together):
            return
        names = [("model", self.model), ("name", self.name), ("role", self.role)]
        names += [("voice", voice) for voice in self.voices]
        for what, name in names:
            check_name(what, name)
            if _CONTROL.search(name):
                raise InvalidRequest(f"the {what} holds a control character: {name[:40]!r}")
