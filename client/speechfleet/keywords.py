"""The keywords of `submit`, `submit_many`, `session` and `batch`, and the request they make.

A keyword is a field of the request, or an option of the provider by its own name. Options may
also stand in ``options``, as a mapping; that is the way for providers of one's own, whose names
nobody here knows. A name that is neither is refused before anything is sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from speechfleet.audio.formats import AudioFormatName
from speechfleet.dialogue import DialoguePart, VoicedPart, join_parts
from speechfleet.errors import InvalidRequest, UnknownOption
from speechfleet.fallback import FallbackSource
from speechfleet.lexicon import Lexicon, LexiconSource
from speechfleet.observability import tracing
from speechfleet.provider_options import near_option, options_of
from speechfleet.request import Lane, Request, SegmentMode, Wire, check_id
from speechfleet.settings import Settings
from speechfleet.speakable import SpeakableMode
from speechfleet.spoken_form import take_spoken_form, with_usual_form
from speechfleet.tts import Msg

Options = Mapping[str, Any]
"""Options of a provider: names and JSON values."""


class RequestKeywords(TypedDict, total=False):
    """The fields of a request beside its text.

    ``model``: "provider/model"; without it, the setting ``SPEECHFLEET_DEFAULT_MODEL``.
    ``voice``: one of the model's voices; without it, the model's default. ``format``: of the
    stored audio. ``lane``: "live", or "batch" for what can wait. ``segments``: "sentence" or
    "paragraph". ``language``: a tag such as "de", which the text is cut by where the voice and
    the options do not tell. ``live``: publish the audio while it is made (default: not in the
    batch lane).
    ``speakable``: "markdown", "plain" or "auto" leave out markup and what is only looked at;
    "off" speaks the text as it stands. ``lexicon``: a file, or a mapping of words to what is
    spoken for them. ``loudness``: of the stored audio, in LUFS. ``fallback``: models and voices
    that speak the rest where the provider cannot; [] for none, whatever the setting says.
    ``wire``: "accumulated" repeats all audio in every stream entry. ``cache``: reuse segments
    that were synthesized before. ``options``: of the provider.
    """

    model: str
    voice: str
    format: AudioFormatName
    lane: Lane | Literal["live", "batch"]
    segments: SegmentMode | None
    language: str
    speakable: SpeakableMode | None
    lexicon: LexiconSource | Lexicon | None
    loudness: float | None
    fallback: FallbackSource | None
    live: bool | None
    wire: Wire
    cache: bool
    options: Options


class SessionOptions(TypedDict, total=False):
    """The options of the built-in providers, by the providers' own names.

    Without ``sample_rate``, which is the rate of what a session hands out; the provider's own
    stands in ``options``.
    """

    enable_tn: bool
    extra_body: Mapping[str, Any]
    gap: int
    instructions: str
    language_code: str
    language_type: str
    max_tokens: int
    mode: Literal["commit", "server_commit"]
    optimize_instructions: bool
    pitch: int
    pitch_rate: float
    presence_penalty: float
    rate: int
    repetition_penalty: float
    response_format: Literal["pcm", "wav"]
    seed: int
    speakers: Mapping[str, str]
    speech_rate: float
    speed: float
    stream_format: Literal["sse"]
    temperature: float
    top_k: int
    top_p: float
    volume: int
    workspace: str


class ProviderKeywords(SessionOptions, total=False):
    """The same with ``sample_rate``, of the audio that the provider makes."""

    apply_text_normalization: Literal["auto", "on", "off"]
    enable_ssml: bool
    language_hints: Sequence[str]
    lexicons: Sequence[str]
    sample_rate: int
    similarity_boost: float
    stability: float
    style: float
    use_speaker_boost: bool
    word_marks: bool
    word_timestamps: bool


class SubmitKeywords(RequestKeywords, ProviderKeywords, total=False):
    """Every keyword of `submit` but the message and its id."""


Message = Msg | str | Sequence[DialoguePart]
"""A text, with or without its id and role; or the parts of a dialogue."""

REQUEST_KEYWORDS = frozenset(RequestKeywords.__annotations__)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "model": (str,), "voice": (str,), "format": (str,), "lane": (str,), "segments": (str,),
    "language": (str,), "speakable": (str,), "lexicon": (str, Path, Mapping, Lexicon, list),
    "loudness": (int, float), "fallback": (str, list, tuple), "live": (bool,), "wire": (str,),
    "cache": (bool,), "options": (Mapping,),
}  # fmt: skip
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "lane": (Lane.LIVE, Lane.BATCH),
    "segments": get_args(SegmentMode),
    "speakable": get_args(SpeakableMode),
    "wire": get_args(Wire),
}


def request_of(
    msg: Message,
    keywords: Mapping[str, Any],
    settings: Settings,
    *,
    id: str | None = None,
) -> tuple[str, Request]:
    """Return the id and the checked request of a message or dialogue; nothing is sent.

    Raises InvalidRequest (and its kinds: UnknownOption, UnknownModel, EmptyText, IllegalId...).
    """
    return request_with(msg, split(keywords, settings), settings, id=id)


def request_with(
    msg: Message,
    fields: Mapping[str, Any],
    settings: Settings,
    *,
    id: str | None = None,
) -> tuple[str, Request]:
    """Return the same for a message, with the fields that `split` made of the keywords."""
    parts: tuple[VoicedPart, ...] = ()
    if isinstance(msg, list | tuple):
        msg, parts = join_parts(msg)
    msg = _message(msg, id)
    fields = dict(fields)
    form = replace(take_spoken_form(fields, msg.text()), parts=parts)
    request = Request(
        text=msg.text(),
        form=form,
        name=msg.name,
        role=msg.role,
        trace=tracing.traceparent(),
        **fields,
    )
    request.check(settings.max_text)
    return check_id(msg.id), request


def split(keywords: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the fields of a Request that the keywords stand for, the options among them.

    Raises UnknownOption for a name that nobody knows, InvalidRequest for a value of a wrong type.
    """
    named = {name: keywords[name] for name in keywords if name in REQUEST_KEYWORDS}
    fields = with_usual_form(named, speakable=settings.speakable, lexicon=settings.lexicon)
    for name, value in list(fields.items()):
        if value is None:
            del fields[name]
        else:
            _check_value(name, value)
    model = fields.setdefault("model", settings.default_model)
    options = dict(fields.get("options", {}))
    plain = {name: value for name, value in keywords.items() if name not in REQUEST_KEYWORDS}
    if both := sorted(options.keys() & plain.keys()):
        raise InvalidRequest(f"the option {both[0]!r} is given twice: as a keyword and in options")
    check_option_names(model, options, plain, settings)
    if "lane" in fields:
        fields["lane"] = Lane(fields["lane"])
    return {**fields, "options": {**options, **plain}}


def flat(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords with their options beside them, as items of a corpus have them."""
    rest = {name: value for name, value in keywords.items() if name != "options"}
    return {**keywords.get("options", {}), **rest}


def check_option_names(
    model: str, options: Iterable[str], plain: Iterable[str] = (), settings: Settings | None = None
) -> None:
    """Refuse names that no request and no provider knows. Raises UnknownOption.

    A built-in provider knows its own names only. For providers of one's own, ``options`` may
    hold any name; plain keywords must not be near misses of a request's field.
    """
    known = options_of(model, settings)
    fields = REQUEST_KEYWORDS | {"id"}
    if known is not None:
        for name in (*options, *plain):
            if name not in known:
                raise UnknownOption(name, known | fields, note=f"(of a request to {model})")
        return
    for name in plain:
        if near_option(name, fields):
            raise UnknownOption(name, fields, note="(an option of that name: put it in options=)")


def _message(msg: object, id: str | None) -> Msg:
    if isinstance(msg, str):
        new = Msg(name="", content=msg, role="assistant")
        return new if id is None else dataclasses.replace(new, id=id)
    if not isinstance(msg, Msg):
        raise InvalidRequest(f"a message is a Msg or a str, not {type(msg).__name__}")
    if id not in (None, msg.id):
        raise InvalidRequest(f"the message has the id {msg.id!r} already: leave out id={id!r}")
    return msg


def _check_value(name: str, value: object) -> None:
    if not isinstance(value, _TYPES[name]):
        expected = " or ".join(type_.__name__ for type_ in _TYPES[name])
        raise InvalidRequest(f"{name}={value!r}: it must be of type {expected}")
    choices = _CHOICES.get(name)
    if choices is None or value in choices:
        return
    if value == Lane.SESSION:
        raise InvalidRequest("lane='session': open it with session(), then push its text")
    shown = ", ".join(repr(str(choice)) for choice in choices)
    raise InvalidRequest(f"{name}={value!r}: it must be one of {shown}")
