"""A folder as the object store of one host (or of whoever shares the file system).

An object is written to a temporary file beside its target, then linked there: `os.link` fails
where the name exists, so of many writers one wins. Beside ``name`` lie ``.name.meta``, its
media type and metadata (unless the name tells all of it), and while it is being written
``.name.<random>.part``.

Each file system call hands the GIL to whoever speaks meanwhile, and a new file costs more than
its bytes: so the way of an object is written with few of either, on paths that are strings.
"""

from __future__ import annotations

import errno
import json
import mimetypes
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from speechfleet.errors import ObjectExists, ObjectMissing, StoreDenied, StoreError
from speechfleet.errors import StoreUnavailable as Unavailable
from speechfleet.store import metadata as ascii_metadata
from speechfleet.store.base import Data, ObjectInfo, Store, Threads, Upload, is_hidden

DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTSUP}
NEVER = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EFBIG, errno.EINVAL}
"""Trying again cannot help; every other error of the system may pass (disk full, I/O, files)."""
TRIES = 10
"""Of making a file in a folder that a neighbour may be tidying away."""
UNKNOWN = "application/octet-stream"


class FolderStore(Store):
    """``root`` must exist: an unmounted disk is not an empty store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        super().__init__(root.as_uri())

        self._prefix = f"{root}/"

    def _path(self, key: str) -> Path:
        return self.root / key

    def _put(self, key: str, data: Data, media_type: str, metadata: dict[str, str]) -> None:
        draft = Draft(self.root, self._prefix + key)
        try:
            draft.write(0, data)
            draft.commit(media_type, metadata)
        finally:
            draft.close()

    def _get(self, key: str, start: int, end: int | None) -> bytes:
        with self._present(key), open(self._prefix + key, "rb") as file:
            file.seek(start)
            return file.read() if end is None else file.read(end - start)

    def _head(self, key: str) -> ObjectInfo:
        path = self._path(key)
        with self._present(key):
            status = path.stat()
            if path.is_dir():
                raise IsADirectoryError
        try:
            told = json.loads(_sidecar(path).read_bytes())
        except FileNotFoundError:
            # The name tells it; or a crash between the two, or a file that was copied here.
            told = {"media_type": _guessed(path.name), "metadata": {}}
        metadata = ascii_metadata.decode(told["metadata"])
        return ObjectInfo(key, status.st_size, told["media_type"], metadata, status.st_mtime)

    def _list(self, prefix: str) -> list[str]:
        keys = (path.relative_to(self.root).as_posix() for path in self._files(prefix))
        return [key for key in keys if key.startswith(prefix) and not is_hidden(Path(key).name)]

    def _delete(self, key: str) -> None:
        self._require_root()
        _remove(self.root, self._path(key))

    def _sweep(self, prefix: str, keep: str | None) -> int:
        doomed = [key for key in self._list(prefix) if key != keep]
        for key in doomed:
            self._delete(key)
        parts = [path for path in self._files(prefix) if self._is_draft(path, prefix)]
        for path in parts:
            path.unlink(missing_ok=True)
            _tidy(self.root, path.parent)
        return len(doomed) + len(parts)

    def _upload(self, key: str, media_type: str, metadata: Mapping[str, str]) -> Upload:
        return FolderUpload(self, key, media_type, metadata, self._threads)

    def _link(self, key: str, expires: float) -> str:
        return self._path(key).as_uri()

    def _files(self, prefix: str) -> list[Path]:
        """All files that may be of a prefix, ours among them."""
        self._require_root()
        top = self.root / prefix.rpartition("/")[0]
        walk = os.walk(top, onerror=_unless_gone)
        return [Path(folder, name) for folder, _, names in walk for name in names]

    def _is_draft(self, path: Path, prefix: str) -> bool:
        if not (is_hidden(path.name) and path.suffix == ".part"):
            return False
        name = path.name[1:].rsplit(".", 2)[0]
        return path.with_name(name).relative_to(self.root).as_posix().startswith(prefix)

    @contextmanager
    def _present(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            self._require_root()
            raise ObjectMissing(f"no object {key!r} in {self.url}") from None

    def _require_root(self) -> None:
        if not self.root.is_dir():
            raise StoreDenied(f"{self.root} is not there: create the folder, or mount it")

    @contextmanager
    def _mapping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = f"{self.url}: {error.strerror}"
            if error.errno in DENIED:
                raise StoreDenied(
                    f"{said}; the folder must be writable, on a file system with hard links"
                ) from error
            raise (StoreError if error.errno in NEVER else Unavailable)(said) from error


class Draft:
    """A file that is being written beside its target."""

    def __init__(self, root: Path, target: str) -> None:
        self._folder, _, self._name = target.rpartition("/")
        self._target = target
        self._part = _part(self._folder, self._name)
        self._file = _create(root, self._part)
        self._is_there = True
        self.linked = False

    def write(self, offset: int, data: Data) -> None:
        """Over what is there; after an error the same call makes it good."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, offset)
            view, offset = view[written:], offset + written

    def commit(self, media_type: str, metadata: dict[str, str]) -> None:
        """Raises ObjectExists. May be called again after any other error."""
        os.fsync(self._file)
        if not self.linked:
            try:
                os.link(self._part, self._target)
            except FileExistsError:
                raise ObjectExists(f"{self._target} exists") from None
            self.linked = True
        if metadata or media_type != _guessed(self._name):
            sidecar = json.dumps({"media_type": media_type, "metadata": metadata})
            _replace(self._folder, self._name, sidecar.encode())
        _sync_folder(self._folder)
        self._drop_part()

    def close(self) -> None:
        """Idempotent: the temporary file is gone, the object stays where it was linked."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._drop_part()

    def _drop_part(self) -> None:
        if self._is_there:
            with suppress(FileNotFoundError):
                os.unlink(self._part)
            self._is_there = False


class FolderUpload(Upload):
    """An upload into a folder: all of it lies in the temporary file, nothing in memory."""

    def __init__(
        self,
        store: FolderStore,
        key: str,
        media_type: str,
        metadata: Mapping[str, str],
        threads: Threads,
    ) -> None:
        super().__init__(key, metadata, threads)
        self._root, self._target = store.root, store.root / key
        self._media_type = media_type
        self._draft: Draft | None = None
        self._end = 0

    def _write(self, data: bytes) -> None:
        self._open().write(self._end, data)
        self._end += len(data)

    def _patch(self, offset: int, data: bytes) -> None:
        self._open().write(offset, data)

    def _commit(self, metadata: dict[str, str]) -> None:
        draft = self._open()
        draft.commit(self._media_type, metadata)
        draft.close()

    def _discard(self) -> None:
        if self._draft is None:
            return
        self._draft.close()
        if self._draft.linked:
            _remove(self._root, self._target)
        else:
            _tidy(self._root, self._target.parent)

    def _open(self) -> Draft:
        self._draft = self._draft or Draft(self._root, str(self._target))
        return self._draft


def _sidecar(path: Path) -> Path:
    return path.with_name(f".{path.name}.meta")


def _part(folder: str, name: str) -> str:
    return f"{folder}/.{name}.{secrets.token_hex(4)}.part"


@lru_cache(maxsize=64)
def _by_extension(extension: str) -> str:
    return mimetypes.guess_type(f"name{extension}")[0] or UNKNOWN


def _guessed(name: str) -> str:
    """The media type, as far as the name tells it."""
    return _by_extension(os.path.splitext(name)[1])


def _create(root: Path, part: str) -> int:
    """A new file, and the folders above it; its descriptor."""
    for _ in range(TRIES):
        with suppress(FileNotFoundError):
            return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        _make_folder(root, Path(part).parent)
    raise Unavailable(f"the folder {os.path.dirname(part)} is removed again and again")


def _make_folder(root: Path, folder: Path) -> None:
    if folder.is_dir():
        return
    if folder == root:
        raise StoreDenied(f"{root} is not there: create the folder, or mount it")
    _make_folder(root, folder.parent)
    with suppress(FileExistsError, FileNotFoundError):
        folder.mkdir()
        _sync_folder(folder.parent)


def _replace(folder: str, name: str, data: bytes) -> None:
    """Write an object's sidecar, whole or not at all."""
    part = _part(folder, name)
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.write(file, data)
        os.fsync(file)
        os.replace(part, f"{folder}/.{name}.meta")
    except OSError:
        os.unlink(part)
        raise
    finally:
        os.close(file)


def _sync_folder(folder: Path | str) -> None:
    """A new name lasts through a power loss only when its folder is written, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(root: Path, path: Path) -> None:
    # In this order: who writes the key anew waits for the object to go, so that the metadata
    # deleted here is never the new one.
    with suppress(NotADirectoryError):
        _sidecar(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    _tidy(root, path.parent)


def _unless_gone(error: OSError) -> None:
    """`os.walk` would pass over what it may not read."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _tidy(root: Path, folder: Path) -> None:
    """Remove the folders that were left empty."""
    while folder != root:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
