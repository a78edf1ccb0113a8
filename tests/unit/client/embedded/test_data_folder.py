"""The data folder of an embedded fleet is closed to other users."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from speechfleet.embedded.data_folder import SUBFOLDERS, make_folders
from speechfleet.errors import MisconfiguredError


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_new_folders_are_closed(tmp_path: Path) -> None:
    data = tmp_path / "a" / "b"
    make_folders(data)
    assert {mode(data / name) for name in ("", *SUBFOLDERS)} == {0o700}


def test_open_folders_of_this_user_are_closed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for folder in (data, *(data / name for name in SUBFOLDERS)):
        folder.mkdir()
        folder.chmod(0o777)
    make_folders(data)
    assert {mode(data / name) for name in ("", *SUBFOLDERS)} == {0o700}


@pytest.mark.parametrize("name", ["the data folder", *SUBFOLDERS])
def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_folders(tmp_path)
    theirs = tmp_path if name == "the data folder" else tmp_path / name
    found = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        status = found(path, **options)
        return os.stat_result((*status[:4], 4711, *status[5:])) if path == theirs else status

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(MisconfiguredError, match=r"another user \(uid 4711\)") as refused:
        make_folders(tmp_path)
    assert refused.value.code == "foreign_folder"
