"""Leave out of a composed Lua script all that it does not use.

A script includes files of many functions and names, and Lua makes each of them anew whenever the
script runs: that took a third of the time of a submit.
"""

from __future__ import annotations

import re
from collections import Counter

_DEFINITION = re.compile(
    r"""
    (?:^--.*\n)*                                             # the comment above it
    (?:
        ^local\ function\ (?P<function>\w+)\(.*\n(?:.*\n)*?^end\n
      | ^local\ (?P<value>\w+)\ =[^(\n]*\n(?:^\ +[^(\n]*\n)*  # nothing that calls anything
    )
    """,
    re.MULTILINE | re.VERBOSE,
)
_WORD = re.compile(r"\w+")
_COMMENT = re.compile(r"--.*")


def link(script: str) -> str:
    """Return the script without the functions and values that nothing in it uses."""
    while (slim := _drop_unused(script)) != script:
        script = slim
    return script


def words_of(script: str) -> Counter[str]:
    """Count the words of a script outside its comments."""
    return Counter(_WORD.findall(_COMMENT.sub("", script)))


def _drop_unused(script: str) -> str:
    uses = words_of(script)

    def kept(definition: re.Match[str]) -> str:
        name = definition["function"] or definition["value"]
        return definition[0] if uses[name] > words_of(definition[0])[name] else ""

    return _DEFINITION.sub(kept, script)
