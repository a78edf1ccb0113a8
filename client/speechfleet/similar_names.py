"""Finds the names that were most likely meant by one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MAX_SUGGESTIONS = 4
MAX_LISTED = 8
"""Names that a message lists where none is similar."""


def suggestion(known: Sequence[str], similar: Sequence[str]) -> str:
    """Return the end of a message: the similar names, else some of all names, else ""."""
    if similar:
        return f"; did you mean {', '.join(similar)}?"
    if not known:
        return ""
    more = ", ..." if len(known) > MAX_LISTED else ""
    return f"; there are {', '.join(sorted(known)[:MAX_LISTED])}{more}"


def similar_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that are spelled like this one."""
    return get_close_matches(name, list(known), n=MAX_SUGGESTIONS, cutoff=0.5)


def similar_models(name: str, known: Sequence[str]) -> list[str]:
    """Return the models with this name or provider, else those with a similar one."""
    provider, slash, _ = name.partition("/")
    if not slash and (found := [each for each in known if name in each.split("/")]):
        return found[:MAX_SUGGESTIONS]
    if similar := similar_names(name, known):
        return similar
    providers = {each.partition("/")[0] for each in known}
    near = get_close_matches(provider, providers, n=2, cutoff=0.6)
    return [each for each in known if each.partition("/")[0] in near][:MAX_SUGGESTIONS]
