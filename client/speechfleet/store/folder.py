"""A folder as the object store of one host (or of whoever shares the file system).

How a file comes there, whole or not at all, is told in `draft`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from speechfleet.errors import ObjectExists, ObjectMissing, StoreDenied, StoreError
from speechfleet.errors import StoreUnavailable as Unavailable
from speechfleet.store import metadata as ascii_metadata
from speechfleet.store.base import NewObject, ObjectInfo, Store, Upload, is_hidden, is_kept
from speechfleet.store.draft import Description, Draft, sidecar, sync_folders
from speechfleet.store.threads import Threads, progressing

DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTSUP}
NEVER = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EFBIG, errno.EINVAL}
"""Errors that a retry cannot help; all others may pass (disk full, I/O, open files)."""


class FolderStore(Store):
    """Keep objects in a folder. ``root`` must exist: an unmounted disk is not an empty store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        super().__init__(root.as_uri())
        self._prefix = f"{root}/"
        self._was_there = root.is_dir()

    def local_path(self, key: str) -> Path:
        super().local_path(key)
        return self._path(key)

    def _renew(self) -> None:
        """Do nothing: a folder has no connections."""

    def _path(self, key: str) -> Path:
        return self.root / key

    def _put_each(
        self, objects: Sequence[NewObject], metadata: Sequence[Mapping[str, str]]
    ) -> list[bool]:
        """Write all of them, then name each in turn: so few steps wait for the disk."""
        drafts: list[Draft] = []
        try:
            for new, encoded in zip(objects, metadata, strict=True):
                draft = Draft(str(self.root), self._prefix + new.key)
                drafts.append(draft)
                draft.write(0, new.data)
                draft.seal(Description(new.media_type, encoded))
            written = [draft.link() for draft in drafts]
            sync_folders(drafts)
        finally:
            for draft in drafts:
                draft.close()
        return written

    def _replace(self, new: NewObject, metadata: Mapping[str, str]) -> None:
        draft = Draft(str(self.root), self._prefix + new.key, nameless=False)
        try:
            draft.write(0, new.data)
            draft.seal(Description(new.media_type, metadata))
            draft.replace()
            sync_folders([draft])
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
        described = Description.read(str(path))
        metadata = ascii_metadata.decode(described.metadata)
        return ObjectInfo(key, status.st_size, described.media_type, metadata, status.st_mtime)

    def _list(self, prefix: str) -> list[str]:
        keys = (path.relative_to(self.root).as_posix() for path in self._files(prefix))
        return [key for key in keys if key.startswith(prefix) and not is_hidden(Path(key).name)]

    def _sizes(self, prefix: str) -> Iterator[int]:
        for key in progressing(self._list(prefix)):
            with suppress(FileNotFoundError):  # deleted meanwhile
                yield self._path(key).stat().st_size

    def _delete(self, key: str) -> None:
        self._require_root()
        _remove(self.root, self._path(key))

    def _sweep(self, prefix: str, keep: str | None) -> int:
        doomed = [key for key in self._list(prefix) if not is_kept(key, keep)]
        for key in progressing(doomed):
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
        """List all files that may have a prefix, metadata and drafts among them."""
        self._require_root()
        top = self.root / prefix.rpartition("/")[0]
        walk = progressing(os.walk(top, onerror=_unless_gone))
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
        if self.root.is_dir():
            self._was_there = True
        elif self._was_there:
            raise Unavailable(f"{self.root} is not there any more: mount it again")
        else:
            raise StoreDenied(f"{self.root} is not there: create the folder, or mount it")

    @contextmanager
    def _mapping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"{self.url}: {error.strerror}"
            if error.errno in DENIED:
                raise StoreDenied(
                    f"{message}; the folder must be writable, on a file system with hard links"
                ) from error
            raise (StoreError if error.errno in NEVER else Unavailable)(message) from error


class FolderUpload(Upload):
    """Upload into a folder: all data are in the temporary file, none in memory.

    That file has a name: a sweep removes it, and the upload ends with it.
    """

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
        draft.seal(Description(self._media_type, metadata))
        if not draft.link():
            raise ObjectExists(f"{self._target} exists")
        sync_folders([draft])
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
        self._draft = self._draft or Draft(str(self._root), str(self._target), nameless=False)
        return self._draft


def _remove(root: Path, path: Path) -> None:
    # In this order: who writes the key anew waits for the object to go, so that the metadata
    # deleted here is never the new one.
    with suppress(NotADirectoryError):
        Path(sidecar(str(path))).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    _tidy(root, path.parent)


def _unless_gone(error: OSError) -> None:
    """Raise what `os.walk` would ignore, unless a folder is gone."""
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
