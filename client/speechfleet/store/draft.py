"""A file that has no name until it is whole: of many writers of one name, the first wins.

Linux keeps such a file without any name (``O_TMPFILE``), so a writer that dies leaves nothing.
Elsewhere, and where it takes so long that a sweep must find it, it lies beside its target as
``.name.<random>.part``. Media type and metadata are an extended attribute of the file; a file
system without attributes gets ``.name.meta`` beside it.

Each call of the file system releases the GIL, and has to wait for it again while the loop is
busy: so an object takes few calls, on paths that are strings.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from mimetypes import guess_type
from typing import Any

from speechfleet.errors import StoreDenied
from speechfleet.errors import StoreUnavailable as Unavailable
from speechfleet.store.base import Data

TRIES = 10
"""Attempts to use a folder that another process may be removing."""
UNKNOWN = "application/octet-stream"
ATTRIBUTE = "user.speechfleet"
NAMELESS = getattr(os, "O_TMPFILE", 0) if os.path.isdir("/proc/self/fd") else 0
"""The flag that opens a file without a name; 0 where there is none, or no way to link it."""
HAS_ATTRIBUTES = hasattr(os, "setxattr")

_NO_NAMELESS = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS}
_NO_ATTRIBUTES = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.E2BIG, errno.ERANGE}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True)
class Description:
    """Media type and encoded metadata of an object in a folder."""

    media_type: str
    metadata: Mapping[str, str]

    @classmethod
    def read(cls, path: str) -> Description:
        """Read the description of a file. Without one, its name tells the media type.

        Such a file needed none, or was copied here.
        """
        try:
            fields: dict[str, Any] = json.loads(_stored_description(path))
        except FileNotFoundError:
            return cls(_guessed(os.path.basename(path)), {})
        return cls(fields["media_type"], fields["metadata"])

    def encode(self, name: str) -> bytes:
        """Return what is to be stored; empty where the name of the file tells all of it."""
        if not self.metadata and self.media_type == _guessed(name):
            return b""
        fields = {"media_type": self.media_type, "metadata": dict(self.metadata)}
        return json.dumps(fields).encode()


class Draft:
    """Write a file, then link it to its name.

    In this order: `write`, `seal`, `link` or `replace`, then `sync_folders` of `changed`; `close`
    at last. Each but `replace` may be repeated after an error. ``nameless``: where the system
    can; `replace` needs a draft that has a name.
    """

    def __init__(self, root: str, target: str, *, nameless: bool = True) -> None:
        self.changed: list[str] = []
        """The folders whose entries have changed."""
        self.linked = False
        self._root = root
        self._target = target
        self._folder, _, self._name = target.rpartition("/")
        self._part = ""
        """The temporary name, where a file needs one."""
        self._sidecar = b""
        self._nameless = NAMELESS if nameless else 0
        self._file = self._open()

    def write(self, offset: int, data: Data) -> None:
        """Write data at an offset."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, offset)
            view, offset = view[written:], offset + written

    def seal(self, description: Description) -> None:
        """Describe the file, and make it durable as far as it has no name yet."""
        encoded = description.encode(self._name)
        self._sidecar = b"" if _is_attached(self._file, encoded) else encoded
        os.fsync(self._file)

    def link(self) -> bool:
        """Give the file its name; False where that is taken."""
        if not self.linked:
            try:
                self._link()
            except FileExistsError:
                return False
            self.linked = True
            self.changed.append(self._folder)
        if self._sidecar:
            _replace(self._folder, self._name, self._sidecar)
        self._drop_part()
        return True

    def replace(self) -> None:
        """Give the file its name, also where that is taken."""
        os.replace(self._part, self._target)
        self._part, self.linked = "", True
        self.changed.append(self._folder)
        if self._sidecar:
            _replace(self._folder, self._name, self._sidecar)
        else:
            with suppress(FileNotFoundError):
                os.unlink(sidecar(self._target))  # of the file that had the name before

    def close(self) -> None:
        """Drop the temporary file; the object stays where it was linked. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._drop_part()

    def _open(self) -> int:
        for _ in range(TRIES):
            with suppress(FileNotFoundError):
                return self._create()
            self._make_folders()
        raise Unavailable(f"the folder {self._folder} is removed again and again")

    def _create(self) -> int:
        if self._nameless:
            try:
                flags = os.O_WRONLY | self._nameless | os.O_CLOEXEC
                return os.open(self._folder, flags, 0o666)
            except OSError as error:
                if error.errno not in _NO_NAMELESS:
                    raise
        part = _part(self._folder, self._name)
        file = os.open(part, _NEW, 0o666)
        self._part = part
        return file

    def _link(self) -> None:
        if self._part:
            os.link(self._part, self._target)
            return
        source = f"/proc/self/fd/{self._file}"
        for _ in range(TRIES):
            with suppress(FileNotFoundError):
                # Only with a descriptor does Python let the kernel follow the link.
                os.link(source, self._target, src_dir_fd=self._file, follow_symlinks=True)
                return
            # A file without a name does not keep its folder from being tidied away.
            self._make_folders()
        raise Unavailable(f"the folder {self._folder} is removed again and again")

    def _make_folders(self) -> None:
        self.changed += _made(self._root, self._folder)

    def _drop_part(self) -> None:
        if self._part:
            with suppress(FileNotFoundError):
                os.unlink(self._part)
            self._part = ""


def sync_folders(drafts: Iterable[Draft]) -> None:
    """Sync the folders that drafts have changed: a name survives a power loss only then."""
    for folder in dict.fromkeys(folder for draft in drafts for folder in draft.changed):
        # Whoever removed a folder again has nothing in it to lose.
        with suppress(FileNotFoundError):
            _sync_folder(folder)


def sidecar(path: str) -> str:
    """Return the path of the description beside a file, where it is no attribute."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.meta"


def _made(root: str, folder: str) -> list[str]:
    """Make a folder and those above it; return those with a new entry, deepest first."""
    if folder == root:
        if not os.path.isdir(root):
            raise StoreDenied(f"{root} is not there: create the folder, or mount it")
        return []
    above = os.path.dirname(folder)
    try:
        os.mkdir(folder)
    except FileExistsError:
        return []
    except FileNotFoundError:
        made = _made(root, above)
        with suppress(FileExistsError, FileNotFoundError):
            os.mkdir(folder)
        return [above, *made]
    return [above]


def _is_attached(file: int, encoded: bytes) -> bool:
    """Describe an open file by an attribute; False where the file system has none."""
    if not encoded:
        return True
    if not HAS_ATTRIBUTES:
        return False
    try:
        os.setxattr(file, ATTRIBUTE, encoded)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return False
        raise
    return True


def _stored_description(path: str) -> bytes:
    """Return the encoded description of a file. Raises FileNotFoundError where it has none."""
    if HAS_ATTRIBUTES:
        with suppress(OSError):
            return os.getxattr(path, ATTRIBUTE)
    with open(sidecar(path), "rb") as file:
        return file.read()


def _part(folder: str, name: str) -> str:
    return f"{folder}/.{name}.{secrets.token_hex(4)}.part"


@lru_cache(maxsize=64)
def _by_extension(extension: str) -> str:
    return guess_type(f"name{extension}")[0] or UNKNOWN


def _guessed(name: str) -> str:
    """Guess the media type from the name."""
    return _by_extension(os.path.splitext(name)[1])


def _replace(folder: str, name: str, data: bytes) -> None:
    """Write an object's sidecar, whole or not at all."""
    part = _part(folder, name)
    file = os.open(part, _NEW, 0o666)
    try:
        os.write(file, data)
        os.fsync(file)
        os.replace(part, f"{folder}/.{name}.meta")
    except OSError:
        os.unlink(part)
        raise
    finally:
        os.close(file)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
