"""Files by id: those that clients uploaded, and those that batches put out."""

from __future__ import annotations

import re
import uuid
from typing import Literal

from speechfleet.gateway.batches.cursor_page import Listed
from speechfleet.ledger.files import UNKNOWN_SIZE, StoredFile

OUTPUT, ERRORS = "output", "errors"
"""The kinds of files that a batch puts out."""
UPLOADED, MADE = "batch", "batch_output"
"""Purposes: of an upload, and of what a batch puts out."""
_OUTPUT_ID = re.compile(rf"file-([0-9a-f]{{32}})-({OUTPUT}|{ERRORS})").fullmatch
_BATCH_ID = re.compile(r"batch_([0-9a-f]{32})").fullmatch


class FileView(Listed):
    """A file. Times are Unix seconds."""

    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    status_details: str | None = None


def new_file_id() -> str:
    """Return the id of a new upload."""
    return f"file-{uuid.uuid4().hex}"


def output_id(batch: str, kind: str) -> str:
    """Return the id of a file that a batch puts out; "" for a batch with another form of id."""
    match = _BATCH_ID(batch)
    return f"file-{match[1]}-{kind}" if match else ""


def batch_of_output(id: str) -> tuple[str, str] | None:
    """Return batch and kind of an output file; None for any other id."""
    match = _OUTPUT_ID(id)
    return (f"batch_{match[1]}", match[2]) if match else None


def output_file(batch: str, kind: str, ended: float, lifetime_s: float) -> StoredFile:
    """Return the file that a batch has put out, whose size is not known yet."""
    filename = f"{batch}_{kind}.jsonl"
    expires = ended + lifetime_s
    return StoredFile(
        output_id(batch, kind), filename, MADE, UNKNOWN_SIZE, ended, expires
    )  # fmt: skip


def file_view(file: StoredFile) -> FileView:
    """Return a file as it is answered."""
    return FileView(
        id=file.id,
        bytes=file.bytes,
        created_at=int(file.created),
        expires_at=None if file.expires is None else int(file.expires),
        filename=file.filename,
        purpose=file.purpose,
    )
