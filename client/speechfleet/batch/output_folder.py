"""The folder that a batch fills: audio, and the files beside it.

wavs/ID.ext         the audio (whatever its format), unless it stays in the store
captions/ID.srt     or .vtt
manifest.jsonl      one entry for each end of an item, in the order of the ends
metadata.csv        id|text|text, the form of LJSpeech
errors.jsonl        what failed, as a corpus to be given again
openai.jsonl        OpenAI's output file, for a corpus in its batch form
batch.json          the batch's id, by which the same command resumes
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from speechfleet.audio.formats import FORMATS
from speechfleet.batch.manifest import NAME, Entry, Manifest, as_corpus, named
from speechfleet.corpus.item import Item
from speechfleet.errors import InvalidRequest, UnknownFormat
from speechfleet.lifecycle import State

AUDIO, CAPTIONS, ABOUT = "wavs", "captions", "batch.json"


class OutputFolder:
    """Hold the folder of one batch, for one process at a time.

    Its methods are not for several threads at once.
    """

    def __init__(self, path: Path) -> None:
        """Raises InvalidRequest where another process fills it, OSError where it cannot."""
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise InvalidRequest(f"{path} is a file: name a folder for the audio") from None
        self.path = path
        self._lock = os.open(path / ABOUT, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.manifest = Manifest(path / NAME)
        except BlockingIOError:
            os.close(self._lock)
            raise InvalidRequest(f"another batch is being written to {path} now") from None
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close the manifest and let other processes in."""
        self.manifest.close()
        os.close(self._lock)

    def note(self, about: Mapping[str, str]) -> None:
        """Write down which batch this is."""
        # In place, for the lock is on this very file.
        data = json.dumps(about).encode() + b"\n"
        os.pwrite(self._lock, data, 0)
        os.ftruncate(self._lock, len(data))

    # --- audio ------------------------------------------------------------------------------

    def audio_path(self, item: Item, format: str) -> Path:
        """Return the path of an item's audio, which is always in the audio folder.

        Raises InvalidRequest for an id or a format that no file can have.
        """
        if format not in FORMATS:
            raise UnknownFormat(format, FORMATS)
        item.check_id()
        return self.path / AUDIO / f"{item.file_name}.{format}"

    def captions_path(self, item: Item, form: str) -> Path:
        """Return the path of an item's captions. Raises InvalidRequest."""
        item.check_id()
        return self.path / CAPTIONS / f"{item.file_name}.{form}"

    def relative(self, path: Path) -> str:
        """Return a path of the folder as the manifest has it."""
        return path.relative_to(self.path).as_posix()

    def has(self, path: Path) -> bool:
        """Return True if there is a file that is not empty."""
        with contextlib.suppress(OSError):
            return path.stat().st_size > 0
        return False

    def link(self, source: Path, target: Path) -> None:
        """Make a stored object a file here: the same one where that can be, else a copy."""

        def make(unfinished: Path) -> None:
            try:
                os.link(source, unfinished)
            except OSError:  # another file system, or one without links
                shutil.copyfile(source, unfinished)

        try:
            os.link(source, target)
        except OSError:  # there is one already, or no folder yet
            self._write_whole(target, make)

    def write(self, target: Path, data: bytes) -> None:
        """Write a file whole or not at all."""
        self._write_whole(target, lambda unfinished: unfinished.write_bytes(data))

    @contextlib.contextmanager
    def writing(self, target: Path) -> Iterator[BinaryIO]:
        """Yield a file to be written in pieces; it becomes ``target`` at the end, or nothing."""
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = _unfinished(target)
        try:
            with named(target):
                with unfinished.open("wb") as file:
                    yield file
                unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)

    # --- what is derived from the manifest --------------------------------------------------

    def summarize(self, *, openai: bool, ids: Container[str] | None = None) -> None:
        """Write anew what is derived from the manifest, each file whole or not at all.

        ``ids``: the items of the corpus as it is now; others are left out. None: all.
        """
        entries = self.manifest.entries
        good = (e for e in entries() if e["state"] == State.SUCCEEDED and _is_in(e, ids))
        bad = (e for e in entries() if e["state"] == State.FAILED and _is_in(e, ids))
        self._write_lines("metadata.csv", (_metadata(entry) for entry in good))
        self._write_lines("errors.jsonl", (_json(as_corpus(entry)) for entry in bad))
        if openai:
            answers = (_json(_openai_answer(e)) for e in entries() if _is_in(e, ids))
            self._write_lines("openai.jsonl", answers)

    def _write_lines(self, name: str, lines: Iterable[str]) -> None:
        def make(unfinished: Path) -> None:
            with unfinished.open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)

        self._write_whole(self.path / name, make)

    def _write_whole(self, target: Path, make: Callable[[Path], object]) -> None:
        unfinished = _unfinished(target)
        try:
            with named(target):
                try:
                    make(unfinished)
                except FileNotFoundError:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    make(unfinished)
                unfinished.replace(target)
        finally:
            # Of two names of one file, `replace` removes neither.
            unfinished.unlink(missing_ok=True)


def batch_of(path: Path) -> str:
    """Return the id of the batch that fills a folder; "" for none."""
    try:
        return str(json.loads((path / ABOUT).read_bytes())["batch"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def read_entries(path: Path) -> list[Entry]:
    """Return the last entry of each id in a folder's manifest, also while it is being written."""
    manifest = path / NAME
    if not manifest.is_file():
        return []
    with manifest.open("rb") as file:
        # A line that is being written has no end yet.
        last = {e["id"]: e for e in (json.loads(line) for line in file if line.endswith(b"\n"))}
    return list(last.values())


def _unfinished(target: Path) -> Path:
    return target.with_name(f".{secrets.token_hex(8)}.part")


def _is_in(entry: Entry, ids: Container[str] | None) -> bool:
    return ids is None or entry["id"] in ids


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _metadata(entry: Entry) -> str:
    """Format an LJSpeech line: the audio is ``wavs/<first field>.<ext>``; no field has a |."""
    name = Path(entry["path"]).stem if "path" in entry else entry["id"].replace("|", " ")
    text = " ".join(entry["text"].replace("|", " ").split())
    return f"{name}|{text}|{text}"


def _openai_answer(entry: Entry) -> dict[str, Any]:
    """Format a line of OpenAI's output file; its body names the audio."""
    error = entry.get("error")
    names = ("path", "object", "media_type", "bytes", "duration", "model", "voice")
    body = {name: entry[name] for name in names if name in entry}
    answer = {"status_code": 200, "request_id": entry["digest"], "body": body}
    return {
        "id": f"batch_req_{entry['digest']}",
        "custom_id": entry["id"],
        "response": None if error else answer,
        "error": error,
    }
