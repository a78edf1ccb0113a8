"""The language that a request's text is cut by: one decision for workers and dry runs."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from speechfleet.request import Lane, Request
from speechfleet_worker.segmentation.cut import language_of_text
from speechfleet_worker.segmentation.language import language_tag

OPTIONS = ("language_type", "language_code", "language")
"""Options by which providers are told the language of a text."""


class LanguageSource(StrEnum):
    """The source from which the language of a text is known."""

    VOICE = "voice"
    OPTION = "option"
    REQUEST = "request"
    TEXT = "text"


class LanguageChoice(NamedTuple):
    """A tag such as "de" and its source; the tag is "" if the text itself decides."""

    tag: str
    source: LanguageSource


def language_of(request: Request, of_voice: str) -> LanguageChoice:
    """Decide the language of a request. ``of_voice``: what the voice speaks, "" for any.

    A voice of one language speaks no other. Then the provider's own option counts, then the
    request's ``language``; without any, `cut` guesses from the text.
    """
    if tag := language_tag(of_voice):
        return LanguageChoice(tag, LanguageSource.VOICE)
    for name in OPTIONS:
        if tag := language_tag(str(request.options.get(name) or "")):
            return LanguageChoice(tag, LanguageSource.OPTION)
    if tag := language_tag(request.language):
        return LanguageChoice(tag, LanguageSource.REQUEST)
    return LanguageChoice("", LanguageSource.TEXT)


def language_of_job(request: Request) -> str:
    """Return the tag of the language that most of a job's text is in; "" where nothing shows it.

    The text of a session comes in pieces, each of which must tell its own language.
    """
    tag = language_of(request, "").tag
    return tag or ("" if request.lane is Lane.SESSION else language_of_text(request.text))
