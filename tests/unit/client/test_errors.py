"""The tree of errors: one root, a code each, and a drawing that shows every class."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pytest

from speechfleet import errors
from speechfleet.chunks import MalformedEntry
from speechfleet.cli.playing import NoDevice
from speechfleet.errors import SpeechFleetError, UnknownModel
from speechfleet.quotas import NamespaceQuotaExceeded


def subclasses(kind: type[SpeechFleetError]) -> Iterator[type[SpeechFleetError]]:
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


def parent_of(kind: type[SpeechFleetError]) -> str:
    """The nearest public class above."""
    return next(base.__name__ for base in kind.__mro__[1:] if not base.__name__.startswith("_"))


def drawn() -> dict[str, str]:
    """Each class in the drawing, and the class that it hangs from."""
    parents: list[tuple[int, str]] = []
    found = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.fullmatch(r" {4}([│├└─ ]*)(\w+(?:  \w+)*)", line)
        if match is None:
            continue
        depth = len(match[1])
        parents = [(at, name) for at, name in parents if at < depth]
        for name in match[2].split():
            found[name] = parents[-1][1] if parents else "Exception"
        parents.append((depth, match[2].split()[-1]))
    return found


def test_the_drawing_shows_the_tree() -> None:
    public = {
        kind.__name__: parent_of(kind)
        for kind in subclasses(SpeechFleetError)
        if kind.__module__ == errors.__name__ and not kind.__name__.startswith("_")
    }
    assert drawn() == {"SpeechFleetError": "Exception", **public}
    assert drawn()["ProviderTimeout"] == "ProviderUnavailable"


def test_errors_of_other_modules_have_the_same_root() -> None:
    assert issubclass(MalformedEntry, SpeechFleetError)
    assert issubclass(NoDevice, SpeechFleetError)


def test_every_class_has_a_code_of_its_own() -> None:
    kinds = [kind for kind in subclasses(SpeechFleetError) if not kind.__name__.startswith("_")]
    kinds.remove(NamespaceQuotaExceeded)  # which says why, and takes it from its only home
    assert NamespaceQuotaExceeded.code is errors.QuotaExceeded.code
    codes = [kind.code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z][a-z0-9_]+", code) for code in codes)


def test_an_error_survives_a_process_border() -> None:
    error = errors.RateLimited("slow down", provider_code="429", retry_after=3.0)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 # our own bytes
    assert (type(copy), str(copy), copy.retry_after) == (errors.RateLimited, "slow down", 3.0)


KNOWN = ["espeak/espeak-ng", "openai/tts-1", "openai/gpt-4o-mini-tts", "gemini/..."]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("espek/espeak-ng", "espeak/espeak-ng"),
        ("espek/x", "espeak/espeak-ng"),
        ("espeak", "espeak/espeak-ng"),
        ("tts-1", "openai/tts-1"),
        ("opnai/whatever-long-name-1", "openai/tts-1"),
    ],
)
def test_a_model_that_is_unknown_suggests_what_was_meant(name: str, meant: str) -> None:
    assert f"did you mean {meant}" in UnknownModel(name, KNOWN).message


def test_a_model_that_is_like_none_lists_all() -> None:
    assert "there are espeak/espeak-ng, gemini/..." in UnknownModel("xyzzy/q", KNOWN).message
