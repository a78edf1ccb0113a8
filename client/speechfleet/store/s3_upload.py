"""A long object in a bucket: a multipart upload whose first part is sent last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from speechfleet.store.base import Upload
from speechfleet.store.bucket import PART_BYTES, WRITE_ID, Bucket
from speechfleet.store.threads import Threads

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef


class S3Upload(Upload):
    """Upload in parts, the first one last, for its head may still be patched.

    Below two parts it is one put, metadata and all. Parts have equal sizes but the last.
    """

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        media_type: str,
        metadata: Mapping[str, str],
        threads: Threads,
    ) -> None:
        super().__init__(key, metadata, threads)
        self._bucket = bucket
        self._media_type = media_type
        self._write_id = uuid4().hex
        self._upload_id = ""
        self._head = bytearray()
        self._tail = bytearray()
        self._parts: dict[int, CompletedPartTypeDef] = {}
        self._next = 2

    def _write(self, data: bytes) -> None:
        # Before anything is taken, so that a call that failed can be made again.
        self._send_whole_parts()
        room = PART_BYTES - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]

    def _patch(self, offset: int, data: bytes) -> None:
        self._head[offset : offset + len(data)] = data

    def _commit(self, metadata: dict[str, str]) -> None:
        if not self._upload_id and len(self._tail) < PART_BYTES:
            data = self._head + self._tail
            self._bucket.put(self._key, data, self._media_type, metadata, self._write_id)
            return
        self._send_whole_parts()
        if self._tail:
            self._send_next(len(self._tail))
        if 1 not in self._parts:
            self._send(1, self._head)
        parts = [self._parts[number] for number in sorted(self._parts)]
        self._bucket.complete(self._key, self._upload_id, parts, self._write_id)

    def _discard(self) -> None:
        if self._upload_id:
            self._bucket.abort(self._bucket.path(self._key), self._upload_id)
        if self._committing and self._bucket.is_written_by(self._key, self._write_id):
            self._bucket.delete(self._key)

    def _send_whole_parts(self) -> None:
        while len(self._tail) >= PART_BYTES:
            self._send_next(PART_BYTES)

    def _send_next(self, size: int) -> None:
        self._send(self._next, self._tail[:size])
        del self._tail[:size]
        self._next += 1

    def _send(self, number: int, data: bytearray) -> None:
        if not self._upload_id:
            metadata = {**self._metadata, WRITE_ID: self._write_id}
            self._upload_id = self._bucket.begin(self._key, self._media_type, metadata)
        self._parts[number] = self._bucket.send_part(self._key, self._upload_id, number, data)
