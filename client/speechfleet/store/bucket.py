"""Requests to one prefix of a bucket, which write an object once although answers may be lost.

Objects are written with ``If-None-Match: *``. The client sends a request again whose answer
was lost, and then meets its own object: so each carries a ``write-id`` that says whose it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from speechfleet.errors import ObjectExists
from speechfleet.store import metadata as ascii_metadata
from speechfleet.store.base import Data, ObjectInfo
from speechfleet.store.s3_connection import (
    CONFLICTS,
    code_of,
    connect,
    is_missing,
    is_not_implemented,
)
from speechfleet.store.threads import progressing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 5 << 20
"""The least that S3 takes as a part that is not the last."""
WRITE_ID = "write-id"
CONFLICT_WAITS_S = (0.05, 0.1, 0.2, 0.4)
"""Pauses before the next try of a write that another one crossed (409)."""


class Bucket:
    """Send requests for one prefix. The client is made on first use: boto3 imports slowly."""

    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self.prefix = f"{prefix}/" if prefix else ""
        self._client: S3Client | None = None
        self._lock = Lock()

    @property
    def client(self) -> S3Client:
        with self._lock:
            self._client = self._client or connect(self.name)
            return self._client

    def renew(self) -> None:
        """Make another client for the next call; never waits for one that hangs."""
        self._lock, self._client = Lock(), None

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def path(self, key: str) -> str:
        return self.prefix + key

    def head(self, key: str) -> ObjectInfo:
        answer = self.client.head_object(Bucket=self.name, Key=self.path(key))
        metadata = ascii_metadata.decode(answer["Metadata"])
        modified = answer["LastModified"].timestamp()
        return ObjectInfo(
            key, answer["ContentLength"], answer.get("ContentType", ""), metadata, modified
        )

    def put(
        self, key: str, data: Data, media_type: str, metadata: Mapping[str, str], write_id: str
    ) -> None:
        """Write an object. Raises ObjectExists where the key is another's."""
        marked = {**metadata, WRITE_ID: write_id}
        self._write_once(
            key,
            write_id,
            lambda: self._put(key, data, media_type, marked, IfNoneMatch="*"),
        )

    def replace(self, key: str, data: Data, media_type: str, metadata: Mapping[str, str]) -> None:
        """Write an object, also over one of that key."""
        self._put(key, data, media_type, metadata)

    def _put(
        self, key: str, data: Data, media_type: str, metadata: Mapping[str, str], **more: Any
    ) -> None:
        self.client.put_object(
            Bucket=self.name,
            Key=self.path(key),
            Body=bytes(data),
            ContentType=media_type,
            Metadata=metadata,
            **more,
        )

    def begin(self, key: str, media_type: str, metadata: Mapping[str, str]) -> str:
        """Begin a multipart upload; return its id."""
        return self.client.create_multipart_upload(
            Bucket=self.name, Key=self.path(key), ContentType=media_type, Metadata=metadata
        )["UploadId"]

    def send_part(self, key: str, upload_id: str, number: int, data: Data) -> CompletedPartTypeDef:
        sent = self.client.upload_part(
            Bucket=self.name,
            Key=self.path(key),
            UploadId=upload_id,
            PartNumber=number,
            Body=bytes(data),
        )
        return {"ETag": sent["ETag"], "PartNumber": number}

    def complete(
        self, key: str, upload_id: str, parts: Sequence[CompletedPartTypeDef], write_id: str
    ) -> None:
        """Make one object of the parts. Raises ObjectExists where the key is another's.

        A server that knows no condition here is asked without: the keys of long objects hold a
        token or a digest, so that no two writers share one.
        """
        try:
            self._write_once(
                key, write_id, lambda: self._complete(key, upload_id, parts, IfNoneMatch="*")
            )
        except ClientError as error:
            if not is_not_implemented(error):
                raise
            if self._is_there(key):
                raise ObjectExists(f"{key!r} exists in s3://{self.name}") from error
            self._complete(key, upload_id, parts)

    def _complete(
        self, key: str, upload_id: str, parts: Sequence[CompletedPartTypeDef], **more: Any
    ) -> None:
        self.client.complete_multipart_upload(
            Bucket=self.name,
            Key=self.path(key),
            UploadId=upload_id,
            MultipartUpload={"Parts": list(parts)},
            **more,
        )

    def _write_once(self, key: str, write_id: str, write: Callable[[], object]) -> None:
        for wait in (*CONFLICT_WAITS_S, None):
            try:
                write()
            except ClientError as error:
                code = code_of(error)
                if code in CONFLICTS and wait is not None:
                    time.sleep(wait)
                    continue
                if code not in {"PreconditionFailed", "412", "NoSuchUpload"}:
                    raise
                if self.is_written_by(key, write_id):
                    return
                if code == "NoSuchUpload":
                    raise
                raise ObjectExists(f"{key!r} exists in s3://{self.name}") from error
            else:
                return

    def is_written_by(self, key: str, write_id: str) -> bool:
        info = self._info(key)
        return info is not None and info.metadata.get(WRITE_ID) == write_id

    def _is_there(self, key: str) -> bool:
        return self._info(key) is not None

    def _info(self, key: str) -> ObjectInfo | None:
        try:
            return self.head(key)
        except ClientError as error:
            if is_missing(error):
                return None
            raise

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=self.path(key))

    def uploads(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield (path, upload id) of the unfinished uploads under a prefix."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.name, Prefix=self.path(prefix)
        )
        for page in progressing(pages):
            for upload in page.get("Uploads", ()):
                yield upload["Key"], upload["UploadId"]

    def abort(self, path: str, upload_id: str) -> None:
        """Drop an unfinished upload; ``path`` with the prefix. Idempotent."""
        try:
            self.client.abort_multipart_upload(Bucket=self.name, Key=path, UploadId=upload_id)
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise
