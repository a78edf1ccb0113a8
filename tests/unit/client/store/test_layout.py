"""Paths in the store: safe on every file system, and different for different names."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from speechfleet.store import layout

NAMES = st.text(min_size=1, max_size=256)


@given(NAMES, NAMES)
def test_different_names_have_different_paths(first: str, second: str) -> None:
    paths = {layout.objects_of("default", name) for name in (first, second)}
    assert len(paths) == len({first, second})


@given(NAMES)
def test_a_path_holds_nothing_to_escape(name: str) -> None:
    *folders, last = layout.audio_object(name, name, "boot:1", "wav").split("/")
    assert last == "boot-1.wav"
    assert folders[0] == "audio"
    for part in folders[1:]:
        assert re.fullmatch(r"[A-Za-z0-9_.~-]{1,256}", part)
        assert part.strip(".")


def test_names_of_dots_are_no_folders() -> None:
    assert layout.objects_of("default", "..") == "audio/default/~2E~2E/"
    assert layout.objects_of("default", "a~b%c:d") == "audio/default/a~7Eb~25c~3Ad/"
