"""The folder that a batch fills: audio, and what is written beside it.

wavs/ID.ext         the audio (whatever its format), unless only its keys are wanted
captions/ID.srt     or .vtt
manifest.jsonl      an entry an item, in the order in which they ended
metadata.csv        id|text|text, the form of LJSpeech
errors.jsonl        what failed, as a corpus to be given again
openai.jsonl        OpenAI's output file, for a corpus in its batch form
batch.json          the batch's id, by which the same command goes on
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from speechfleet.corpus.item import Item
from speechfleet.corpus.manifest import NAME, Entry, Manifest, as_corpus, named
from speechfleet.errors import InvalidRequest
from speechfleet.jobs import State

AUDIO, CAPTIONS, ABOUT = "wavs", "captions", "batch.json"


class Folder:
    """One batch's folder, held by one process at a time. `close` it; not for many threads."""

    def __init__(self, path: Path) -> None:
        """Raises InvalidRequest where another process fills it, OSError where it cannot."""
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = os.open(path / ABOUT, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise InvalidRequest(f"another batch is being written to {path} now") from None
        self.manifest = Manifest(path / NAME)

    def close(self) -> None:
        self.manifest.close()
        os.close(self._lock)

    def note(self, about: Mapping[str, str]) -> None:
        """Which batch this is."""
        # In place, for the lock is on this very file.
        data = json.dumps(about).encode() + b"\n"
        os.pwrite(self._lock, data, 0)
        os.ftruncate(self._lock, len(data))

    # --- audio ------------------------------------------------------------------------------

    def audio_path(self, item: Item, format: str) -> Path:
        return self.path / AUDIO / f"{item.file_name}.{format}"

    def has(self, path: Path, size: int | None = None) -> bool:
        with contextlib.suppress(OSError):
            found = path.stat().st_size
            return found > 0 and size in (None, found)
        return False

    def link(self, source: Path, target: Path) -> None:
        """The stored object as a file here: the same one where that can be, else a copy."""

        def make(unfinished: Path) -> None:
            try:
                os.link(source, unfinished)
            except OSError:  # another file system, or one without links
                shutil.copyfile(source, unfinished)

        try:
            os.link(source, target)
        except OSError:  # there is one already, or no folder yet
            self._whole(target, make)

    def write(self, target: Path, data: bytes) -> None:
        self._whole(target, lambda unfinished: unfinished.write_bytes(data))

    # --- what is made of the manifest -------------------------------------------------------

    def summarize(self, *, openai: bool) -> None:
        """Write anew what is derived from the manifest, each file whole or not at all."""
        self._lines("metadata.csv", (_metadata(e) for e in self._ended(State.SUCCEEDED)))
        self._lines("errors.jsonl", (_json(as_corpus(e)) for e in self._ended(State.FAILED)))
        if openai:
            self._lines("openai.jsonl", (_json(_openai(e)) for e in self.manifest.entries()))

    def _ended(self, state: State) -> Iterable[Entry]:
        return (entry for entry in self.manifest.entries() if entry["state"] == state)

    def _lines(self, name: str, lines: Iterable[str]) -> None:
        def make(unfinished: Path) -> None:
            with unfinished.open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)

        self._whole(self.path / name, make)

    def _whole(self, target: Path, make: Callable[[Path], object]) -> None:
        """Whole or not at all."""
        unfinished = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with named(target):
                try:
                    make(unfinished)
                except FileNotFoundError:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    make(unfinished)
                unfinished.replace(target)
        finally:
            # Of two names of one file, `replace` takes neither away.
            unfinished.unlink(missing_ok=True)


def batch_of(path: Path) -> str:
    """The id of the batch that fills a folder; "" for none."""
    try:
        return str(json.loads((path / ABOUT).read_bytes())["batch"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _metadata(entry: Entry) -> str:
    """LJSpeech's form: the audio is ``wavs/<first field>.<ext>``, and no field holds a |."""
    name = Path(entry["path"]).stem if "path" in entry else entry["id"].replace("|", " ")
    text = " ".join(entry["text"].replace("|", " ").split())
    return f"{name}|{text}|{text}"


def _openai(entry: Entry) -> Entry:
    """A line of OpenAI's output file; its body says where the audio is."""
    error = entry.get("error")
    wanted = ("path", "object", "media_type", "bytes", "duration", "model", "voice")
    body = {name: entry[name] for name in wanted if name in entry}
    answer = {"status_code": 200, "request_id": entry["digest"], "body": body}
    return {
        "id": f"batch_req_{entry['digest']}",
        "custom_id": entry["id"],
        "response": None if error else answer,
        "error": error,
    }
