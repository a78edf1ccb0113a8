"""A bucket of an S3-compatible server as the object store, by boto3.

Credentials, region and endpoint are the AWS_* variables (`s3_connection`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from botocore.exceptions import ClientError

from speechfleet.errors import InvalidRequest, ObjectExists, ObjectMissing
from speechfleet.store.base import NewObject, ObjectInfo, Store, Upload, is_kept
from speechfleet.store.bucket import WRITE_ID, Bucket
from speechfleet.store.s3_connection import code_of, is_missing, mapping
from speechfleet.store.s3_upload import S3Upload
from speechfleet.store.threads import progressing

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectTypeDef

READ_BYTES = 1 << 20
"""Bytes that are read of an object before its call counts as going on."""
LONGEST_LINK_S = 7 * 86400
"""The most that a signature of version 4 may last."""


class S3Store(Store):
    """Keep objects in a bucket, or under one prefix of it."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        super().__init__(f"s3://{bucket}/{prefix}".rstrip("/"))
        self._bucket = Bucket(bucket, prefix)

    async def close(self) -> None:
        await super().close()
        self._bucket.close()

    def _renew(self) -> None:
        self._bucket.renew()

    def _put_each(
        self, objects: Sequence[NewObject], metadata: Sequence[Mapping[str, str]]
    ) -> list[bool]:
        return [self._is_put(new, each) for new, each in zip(objects, metadata, strict=True)]

    def _is_put(self, new: NewObject, metadata: Mapping[str, str]) -> bool:
        try:
            self._bucket.put(new.key, new.data, new.media_type, metadata, uuid4().hex)
        except ObjectExists:
            return False
        return True

    def _replace(self, new: NewObject, metadata: Mapping[str, str]) -> None:
        self._bucket.replace(new.key, new.data, new.media_type, metadata)

    def _get(self, key: str, start: int, end: int | None) -> bytes:
        if start == end:
            self._head(key)
            return b""
        bucket = self._bucket
        # Some servers answer a range of an empty object with an error: a whole one needs none.
        whole = start == 0 and end is None
        wanted = {} if whole else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        try:
            with _present(key, self.url):
                answer = bucket.client.get_object(
                    Bucket=bucket.name,
                    Key=bucket.path(key),
                    **wanted,  # type: ignore[arg-type]  # a TypedDict of many names
                )
        except ClientError as error:
            if code_of(error) == "InvalidRange":  # the object ends at or before `start`
                return b""
            raise
        # As a context manager the body gives its raw stream, which misses what breaks off.
        with closing(answer["Body"]) as body:
            return b"".join(progressing(body.iter_chunks(READ_BYTES)))

    def _head(self, key: str) -> ObjectInfo:
        with _present(key, self.url):
            info = self._bucket.head(key)
        info.metadata.pop(WRITE_ID, None)
        return info

    def _list(self, prefix: str) -> Iterable[str]:
        return (item["Key"].removeprefix(self._bucket.prefix) for item in self._listed(prefix))

    def _sizes(self, prefix: str) -> Iterable[int]:
        return (int(item["Size"]) for item in self._listed(prefix))

    def _listed(self, prefix: str) -> Iterable[ObjectTypeDef]:
        bucket = self._bucket
        pages = bucket.client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket.name, Prefix=bucket.path(prefix)
        )
        return (item for page in progressing(pages) for item in page.get("Contents", ()))

    def _delete(self, key: str) -> None:
        self._bucket.delete(key)

    def _sweep(self, prefix: str, keep: str | None) -> int:
        bucket = self._bucket
        doomed = [key for key in self._list(prefix) if not is_kept(key, keep)]
        for key in progressing(doomed):
            bucket.delete(key)
        uploads = list(bucket.uploads(prefix))
        for path, upload_id in progressing(uploads):
            bucket.abort(path, upload_id)
        return len(doomed) + len(uploads)

    def _upload(self, key: str, media_type: str, metadata: Mapping[str, str]) -> Upload:
        return S3Upload(self._bucket, key, media_type, metadata, self._threads)

    def _link(self, key: str, expires: float) -> str:
        if not 1 <= expires <= LONGEST_LINK_S:
            raise InvalidRequest(f"a link lasts 1 to {LONGEST_LINK_S} seconds, not {expires:g}")
        bucket = self._bucket
        return bucket.client.generate_presigned_url(
            "get_object",
            Params={"Bucket": bucket.name, "Key": bucket.path(key)},
            ExpiresIn=int(expires),
        )

    def _probe_uploads(self, folder: str) -> None:
        """Make an object of one part."""
        bucket, key, write_id = self._bucket, f"{folder}upload", uuid4().hex
        upload_id = bucket.begin(key, "text/plain", {WRITE_ID: write_id})
        part = bucket.send_part(key, upload_id, 1, b"probe")
        bucket.complete(key, upload_id, [part], write_id)

    def _mapping(self) -> AbstractContextManager[None]:
        return mapping(self.url)


@contextmanager
def _present(key: str, url: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if is_missing(error):
            raise ObjectMissing(f"no object {key!r} in {url}") from error
        raise
