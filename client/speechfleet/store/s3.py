"""An S3-compatible bucket, by boto3. Credentials, region and endpoint are the AWS_* variables.

Objects are written with ``If-None-Match: *``. The client sends a request again whose answer
was lost, and then meets its own object: so each carries a ``write-id`` that tells whose it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from threading import Lock
from typing import TYPE_CHECKING
from uuid import uuid4

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import ConnectionError as TransportError

from speechfleet.errors import (
    InvalidRequest,
    MisconfiguredError,
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from speechfleet.store import metadata as ascii_metadata
from speechfleet.store.base import THREADS, Data, ObjectInfo, Store, Threads, Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART = 5 << 20
"""Bytes; the least that S3 takes as a part that is not the last."""
LONGEST_LINK = 7 * 86400
"""Seconds; the most that a signature of version 4 may last."""
WRITE_ID = "write-id"

CONFLICT_WAITS = (0.05, 0.1, 0.2, 0.4)
"""Seconds before the next try of a write that another one crossed (409)."""
CONFLICTS = {"ConditionalRequestConflict", "OperationAborted"}
PASSING = {"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", *CONFLICTS}
LOST = (HTTPClientError, TransportError, IncompleteReadError, CredentialRetrievalError)
"""botocore's errors of transport. Its others lie in the settings."""


class Bucket:
    """The client, made on first use (boto3 takes a while to import), and one prefix."""

    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self.prefix = f"{prefix}/" if prefix else ""
        self._client: S3Client | None = None
        self._lock = Lock()

    @property
    def client(self) -> S3Client:
        with self._lock:
            self._client = self._client or _connect()
            return self._client

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def path(self, key: str) -> str:
        return self.prefix + key

    def head(self, key: str) -> ObjectInfo:
        found = self.client.head_object(Bucket=self.name, Key=self.path(key))
        metadata = ascii_metadata.decode(found["Metadata"])
        modified = found["LastModified"].timestamp()
        return ObjectInfo(
            key, found["ContentLength"], found.get("ContentType", ""), metadata, modified
        )

    def put(
        self, key: str, data: Data, media_type: str, metadata: dict[str, str], write_id: str
    ) -> None:
        self.write_once(
            key,
            write_id,
            lambda: self.client.put_object(
                Bucket=self.name,
                Key=self.path(key),
                Body=bytes(data),
                ContentType=media_type,
                Metadata={**metadata, WRITE_ID: write_id},
                IfNoneMatch="*",
            ),
        )

    def write_once(self, key: str, write_id: str, write: Callable[[], object]) -> None:
        """Runs a conditional write. Raises ObjectExists where the object is another's."""
        for wait in (*CONFLICT_WAITS, None):
            try:
                write()
            except ClientError as error:
                code = _code(error)
                if code in CONFLICTS and wait is not None:
                    time.sleep(wait)
                    continue
                if code not in {"PreconditionFailed", "412", "NoSuchUpload"}:
                    raise
                if self.written_by(key, write_id):
                    return
                if code == "NoSuchUpload":
                    raise
                raise ObjectExists(f"{key!r} exists in s3://{self.name}") from error
            else:
                return

    def written_by(self, key: str, write_id: str) -> bool:
        try:
            return self.head(key).metadata.get(WRITE_ID) == write_id
        except ClientError as error:
            if _is_missing(error):
                return False
            raise

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=self.path(key))

    def abort(self, path: str, upload_id: str) -> None:
        """``path`` with the prefix. Idempotent."""
        try:
            self.client.abort_multipart_upload(Bucket=self.name, Key=path, UploadId=upload_id)
        except ClientError as error:
            if _code(error) != "NoSuchUpload":
                raise


class S3Store(Store):
    """One bucket, or one prefix of it."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        super().__init__(f"s3://{bucket}/{prefix}".rstrip("/"))
        self._bucket = Bucket(bucket, prefix)

    async def close(self) -> None:
        await super().close()
        self._bucket.close()

    def _put(self, key: str, data: Data, media_type: str, metadata: dict[str, str]) -> None:
        self._bucket.put(key, data, media_type, metadata, uuid4().hex)

    def _get(self, key: str, start: int, end: int | None) -> bytes:
        if start == end:
            self._head(key)
            return b""
        last = "" if end is None else str(end - 1)
        bucket = self._bucket
        try:
            with _present(key, self.url):
                found = bucket.client.get_object(
                    Bucket=bucket.name, Key=bucket.path(key), Range=f"bytes={start}-{last}"
                )
        except ClientError as error:
            if _code(error) == "InvalidRange":  # the object ends at or before `start`
                return b""
            raise
        # As a context manager the body gives its raw stream, which misses what breaks off.
        with closing(found["Body"]) as body:
            return body.read()

    def _head(self, key: str) -> ObjectInfo:
        with _present(key, self.url):
            info = self._bucket.head(key)
        info.metadata.pop(WRITE_ID, None)
        return info

    def _list(self, prefix: str) -> Iterable[str]:
        bucket = self._bucket
        pages = bucket.client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket.name, Prefix=bucket.path(prefix)
        )
        found = (item["Key"] for page in pages for item in page.get("Contents", ()))
        return (path.removeprefix(bucket.prefix) for path in found)

    def _delete(self, key: str) -> None:
        self._bucket.delete(key)

    def _sweep(self, prefix: str, keep: str | None) -> int:
        bucket = self._bucket
        doomed = [key for key in self._list(prefix) if key != keep]
        for key in doomed:
            bucket.delete(key)
        pages = bucket.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket.name, Prefix=bucket.path(prefix)
        )
        uploads = [upload for page in pages for upload in page.get("Uploads", ())]
        for upload in uploads:
            bucket.abort(upload["Key"], upload["UploadId"])
        return len(doomed) + len(uploads)

    def _upload(self, key: str, media_type: str, metadata: Mapping[str, str]) -> Upload:
        return S3Upload(self._bucket, key, media_type, metadata, self._threads)

    def _link(self, key: str, expires: float) -> str:
        if not 1 <= expires <= LONGEST_LINK:
            raise InvalidRequest(f"a link lasts 1 to {LONGEST_LINK} seconds, not {expires:g}")
        bucket = self._bucket
        return bucket.client.generate_presigned_url(
            "get_object",
            Params={"Bucket": bucket.name, "Key": bucket.path(key)},
            ExpiresIn=int(expires),
        )

    @contextmanager
    def _mapping(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise _own(error, self.url) from error
        except BotoCoreError as error:
            if isinstance(error, LOST):
                raise StoreUnavailable(f"{self.url}: {error}") from error
            raise StoreDenied(f"{self.url}: {error}; see the AWS_* variables") from error


class S3Upload(Upload):
    """A multipart upload whose first part is sent last, for its head may still be patched.

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
        room = PART - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]

    def _patch(self, offset: int, data: bytes) -> None:
        self._head[offset : offset + len(data)] = data

    def _commit(self, metadata: dict[str, str]) -> None:
        if not self._upload_id and len(self._tail) < PART:
            data = self._head + self._tail
            self._bucket.put(self._key, data, self._media_type, metadata, self._write_id)
            return
        self._send_whole_parts()
        if self._tail:
            self._send_next(len(self._tail))
        if 1 not in self._parts:
            self._send(1, self._head)
        self._complete()

    def _complete(self) -> None:
        bucket = self._bucket
        parts = [self._parts[number] for number in sorted(self._parts)]
        bucket.write_once(
            self._key,
            self._write_id,
            lambda: bucket.client.complete_multipart_upload(
                Bucket=bucket.name,
                Key=bucket.path(self._key),
                UploadId=self._upload_id,
                MultipartUpload={"Parts": parts},
                IfNoneMatch="*",
            ),
        )

    def _discard(self) -> None:
        if self._upload_id:
            self._bucket.abort(self._bucket.path(self._key), self._upload_id)
        if self._committing and self._bucket.written_by(self._key, self._write_id):
            self._bucket.delete(self._key)

    def _send_whole_parts(self) -> None:
        while len(self._tail) >= PART:
            self._send_next(PART)

    def _send_next(self, size: int) -> None:
        self._send(self._next, self._tail[:size])
        del self._tail[:size]
        self._next += 1

    def _send(self, number: int, data: bytearray) -> None:
        bucket, path = self._bucket, self._bucket.path(self._key)
        if not self._upload_id:
            self._upload_id = bucket.client.create_multipart_upload(
                Bucket=bucket.name,
                Key=path,
                ContentType=self._media_type,
                Metadata={**self._metadata, WRITE_ID: self._write_id},
            )["UploadId"]
        sent = bucket.client.upload_part(
            Bucket=bucket.name,
            Key=path,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=bytes(data),
        )
        self._parts[number] = {"ETag": sent["ETag"], "PartNumber": number}


def _connect() -> S3Client:
    from boto3.session import Session  # noqa: PLC0415 # takes a while; runs in a thread
    from botocore.config import Config  # noqa: PLC0415 # likewise

    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        max_pool_connections=THREADS,
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": 3},
        # Servers that are not Amazon's refuse or mangle the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        # Not boto3's default session: that one is shared and not safe among threads.
        return Session().client("s3", config=config)
    except ValueError as error:
        raise MisconfiguredError(f"an AWS_* variable is wrong: {error}") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_missing(error: ClientError) -> bool:
    # A HEAD has no body, so botocore knows the status only.
    return _code(error) in {"NoSuchKey", "NotFound", "404"}


@contextmanager
def _present(key: str, url: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if _is_missing(error):
            raise ObjectMissing(f"no object {key!r} in {url}") from error
        raise


def _own(error: ClientError, url: str) -> StoreError:
    code = _code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f"{url}: {error.operation_name}: {error.response.get('Error', {}).get('Message', code)}"
    if code in PASSING or status == 429 or status >= 500:
        return StoreUnavailable(said)
    if code == "NoSuchUpload":
        return StoreError(f"{url}: the unfinished upload was swept", retryable=True)
    if code == "NoSuchBucket":
        return StoreDenied(f"{url}: there is no such bucket; create it, or set SPEECHFLEET_STORE")
    if status == 403:
        said += "; needed are s3:GetObject, PutObject, DeleteObject, AbortMultipartUpload, "
        said += "ListBucket and ListBucketMultipartUploads, and the right AWS_* credentials"
    return StoreDenied(said)
