"""A full disk is reported once, and so is its end."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import pytest

from speechfleet.embedded.disk_watch import PROBE_NAME, DiskWatch


def test_a_full_disk_is_reported_until_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watch, write = DiskWatch(tmp_path), Path.write_bytes

    def full(path: Path, data: Any) -> int:
        write(path, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with caplog.at_level(logging.WARNING, "speechfleet.embedded"):
        watch.check()
        assert caplog.messages == []
        monkeypatch.setattr(Path, "write_bytes", full)
        watch.check()
        watch.check()
        assert len(caplog.messages) == 1
        assert "No space left on device" in caplog.messages[0]
        assert not (tmp_path / PROBE_NAME).exists()
        monkeypatch.setattr(Path, "write_bytes", write)
        watch.check()
        watch.check()
    assert [str(tmp_path) in message for message in caplog.messages] == [True, True]
    assert "again" in caplog.messages[1]


def test_a_folder_that_is_gone_is_no_matter_of_space(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    DiskWatch(tmp_path / "gone").check()
    assert caplog.messages == []


def test_the_watch_ends_with_its_owner(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path, interval=0.001)
    watch.start()
    watch.stop()
    watch.stop()
    assert list(tmp_path.iterdir()) == []
