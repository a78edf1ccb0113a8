"""Stores of finished audio and segments: an S3-compatible bucket, or a folder of one host."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from speechfleet.errors import MisconfiguredError, MissingExtra
from speechfleet.store.base import ObjectInfo, Store, Upload
from speechfleet.store.folder import FolderStore

__all__ = ["ObjectInfo", "Store", "Upload", "open_store"]


def open_store(url: str) -> Store:
    """Open ``s3://bucket/prefix`` or ``file:///folder``; nothing is connected or read yet.

    Raises MisconfiguredError for any other URL, MissingExtra where S3 lacks boto3.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise _wrong(f"{url.partition('?')[0].partition('#')[0]}?...")
    if parts.scheme == "s3" and parts.netloc and "@" not in parts.netloc:
        if find_spec("boto3") is None:
            raise MissingExtra(f"SPEECHFLEET_STORE={url}", "s3")
        from speechfleet.store.s3 import S3Store  # noqa: PLC0415 # botocore is an extra

        return S3Store(parts.netloc, parts.path.strip("/"))
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.strip("/"):
        return FolderStore(Path(unquote(parts.path)))
    raise _wrong(url)


def _wrong(url: str) -> MisconfiguredError:
    # What stands before an @ may be a secret.
    shown = f"...@{url.rpartition('@')[2]}" if "@" in url else url
    return MisconfiguredError(
        f"SPEECHFLEET_STORE must be s3://bucket/prefix or file:///folder, not {shown!r}"
    )
