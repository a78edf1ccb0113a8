"""S3: how errors are told apart, answers that were lost, and what goes over the wire."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError

from speechfleet.errors import (
    InvalidRequest,
    MisconfiguredError,
    ObjectExists,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from speechfleet.store import bucket, open_store
from speechfleet.store.bucket import PART_BYTES as PART
from speechfleet.store.s3 import S3Store

WAV = "audio/wav"
Answer = Callable[[AWSPreparedRequest], AWSResponse | None]


@pytest.fixture
async def store(s3_store_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Store]:
    monkeypatch.setattr(bucket, "CONFLICT_WAITS_S", (0.0, 0.0))
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", _no_delay)
    opened = open_store(s3_store_url)
    assert isinstance(opened, S3Store)
    yield opened
    await opened.close()


def _no_delay(self: object, context: object) -> float:
    return 0.0


class Wire:
    """What the client sends, by operation; `answers` are given, one a request, for the server."""

    def __init__(self, store: S3Store) -> None:
        self.sent: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Answer] = []
        self._operation = ""
        self._client: Any = store._bucket.client
        before_send: Any = self._before_send
        self._client.meta.events.register_first("before-send.s3", before_send)

    def _before_send(
        self, request: AWSPreparedRequest, event_name: str, **_: Any
    ) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        self.sent.append(operation)
        self.headers.append({name: _text(value) for name, value in request.headers.items()})
        if self._operation == operation and self.answers:
            return self.answers.pop(0)(request)
        return None

    def answer(self, operation: str, *answers: Answer) -> None:
        self._operation, self.answers = operation, list(answers)

    def lost(self, request: AWSPreparedRequest) -> AWSResponse:
        """The server does it, and nobody hears that it did."""
        self._client._endpoint.http_session.send(request)
        raise ConnectionClosedError(endpoint_url=request.url)


def status(number: int, code: str, message: str = "so it is") -> Answer:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()

    def answer(request: AWSPreparedRequest) -> AWSResponse:
        raw = io.BytesIO(body)
        raw.stream = lambda *_, **__: iter([body])  # type: ignore[attr-defined]  # as urllib3's
        return AWSResponse(request.url, number, HTTPHeaders(), raw)

    return answer


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture
def wire(store: S3Store) -> Wire:
    return Wire(store)


async def test_a_put_whose_answer_was_lost_is_no_conflict(store: S3Store, wire: Wire) -> None:
    wire.answer("PutObject", wire.lost)
    await store.put("a", b"1", media_type=WAV, metadata={"n": "1"})
    assert wire.sent == ["PutObject", "PutObject", "HeadObject"]
    assert (await store.head("a")).metadata == {"n": "1"}
    with pytest.raises(ObjectExists):
        await store.put("a", b"1", media_type=WAV)


async def test_a_conflict_is_tried_again(store: S3Store, wire: Wire) -> None:
    conflict = status(409, "ConditionalRequestConflict")
    wire.answer("PutObject", conflict, conflict)
    await store.put("a", b"1", media_type=WAV)
    assert wire.sent == ["PutObject"] * 3
    wire.answer("PutObject", *[conflict] * 3)
    with pytest.raises(StoreUnavailable):
        await store.put("b", b"1", media_type=WAV)


@pytest.mark.parametrize("lost", ["CompleteMultipartUpload", "UploadPart", "PutObject"])
async def test_an_upload_whose_answers_were_lost(store: S3Store, wire: Wire, lost: str) -> None:
    size = 3 if lost == "PutObject" else 2 * PART + 3
    upload = store.upload("a", media_type=WAV, metadata={"n": "1"})
    await upload.write(b"." * size)
    # Three tries are one call's: all are lost, the call fails and is made again.
    wire.answer(lost, *[wire.lost] * 3)
    with pytest.raises(StoreUnavailable):
        await upload.commit()
    with pytest.raises(RuntimeError):
        await upload.patch_head(0, b"1")
    await upload.commit()
    info = await store.head("a")
    assert (info.size, info.metadata) == (size, {"n": "1"})
    assert await store.sweep("a", keep="a") == 0


async def test_a_write_that_failed_is_made_again(store: S3Store, wire: Wire) -> None:
    upload = store.upload("a", media_type=WAV)
    await upload.write(b"1" * 2 * PART)
    wire.answer("UploadPart", *[status(503, "SlowDown")] * 3)
    with pytest.raises(StoreUnavailable):
        await upload.write(b"2" * PART)
    await upload.write(b"2" * PART)
    await upload.commit()
    assert await store.get("a") == b"1" * 2 * PART + b"2" * PART


async def test_a_commit_interrupted_and_aborted_is_undone(store: S3Store, wire: Wire) -> None:
    upload = store.upload("a", media_type=WAV)
    await upload.write(b"1" * (2 * PART))
    wire.answer("CompleteMultipartUpload", *[wire.lost] * 3)
    with pytest.raises(StoreUnavailable):
        await upload.commit()
    assert await store.list("") == ["a"]
    await upload.abort()
    assert await store.list("") == []


async def test_an_upload_that_was_swept(store: S3Store, wire: Wire) -> None:
    upload = store.upload("a", media_type=WAV)
    await upload.write(b"1" * (2 * PART))
    await upload.write(b"2")
    wire.answer("CompleteMultipartUpload", status(404, "NoSuchUpload"))
    with pytest.raises(StoreError, match="swept") as caught:
        await upload.commit()
    assert caught.value.retryable
    assert not isinstance(caught.value, StoreUnavailable)  # this upload will never succeed
    await upload.abort()


async def test_memory_holds_two_parts_however_long(store: S3Store, wire: Wire) -> None:
    upload: Any = store.upload("a", media_type=WAV)
    most = 0
    for _ in range(30):
        await upload.write(bytes(1 << 20))
        most = max(most, len(upload._head) + len(upload._tail))
    assert most <= 2 * PART + (1 << 20)
    assert wire.sent == ["CreateMultipartUpload", *["UploadPart"] * 4]
    await upload.commit()
    # What was kept back for its head: the rest goes first, the first part last.
    assert wire.sent[5:] == ["UploadPart", "UploadPart", "CompleteMultipartUpload"]
    assert (await store.head("a")).size == 30 << 20


async def test_small_objects_are_one_request(store: S3Store, wire: Wire) -> None:
    upload = store.upload("a", media_type=WAV)
    await upload.write(bytes(2 * PART - 1))
    await upload.commit()
    await store.put("b", b"1", media_type=WAV)
    assert wire.sent == ["PutObject", "PutObject"]


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (status(403, "InvalidAccessKeyId"), StoreDenied, "credentials"),
        (status(403, "SignatureDoesNotMatch"), StoreDenied, "credentials"),
        (status(403, "AccessDenied"), StoreDenied, "ListBucket"),
        (status(400, "ExpiredToken", "The token has expired"), StoreDenied, "expired"),
        (status(404, "NoSuchBucket"), StoreDenied, "no such bucket"),
        (status(501, "NotImplemented", "A header"), StoreDenied, "A header.* lacks .* GetObject"),
        (status(400, "NotImplemented", "A header"), StoreDenied, "lacks"),
        (status(500, "InternalError"), StoreUnavailable, "so it is"),
        (status(503, "SlowDown"), StoreUnavailable, "so it is"),
        (status(429, "TooManyRequests"), StoreUnavailable, "so it is"),
        (status(400, "RequestTimeout"), StoreUnavailable, "so it is"),
    ],
)
async def test_errors_of_the_server(
    store: S3Store, wire: Wire, answer: Answer, kind: type[StoreError], said: str
) -> None:
    wire.answer("GetObject", *[answer] * 3)
    with pytest.raises(kind, match=said) as caught:
        await store.get("a")
    assert type(caught.value) is kind
    assert caught.value.retryable is (kind is StoreUnavailable)
    assert store.url in caught.value.message


async def test_a_body_that_breaks_off(store: S3Store, wire: Wire) -> None:
    await store.put("a", b"0123456789", media_type=WAV)

    def short(request: AWSPreparedRequest) -> AWSResponse:
        answer: AWSResponse = wire._client._endpoint.http_session.send(request)
        answer.headers["Content-Length"] = "11"
        return answer

    wire.answer("GetObject", short)
    with pytest.raises(StoreUnavailable):
        await store.get("a")
    assert await store.get("a") == b"0123456789"


async def test_a_server_that_is_not_there(
    s3_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", _no_delay)
    store = open_store(s3_store_url)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9"):
        await store.check()
    await store.close()


async def test_a_bucket_that_is_not_there(s3_store_url: str) -> None:
    store = open_store("s3://elsewhere/prefix")
    for call in (store.check(), store.get("a"), store.list("")):
        with pytest.raises(StoreDenied, match="no such bucket"):
            await call
    await store.close()


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
async def test_credentials_that_are_not_there(
    s3_store_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.delenv(name)
    store = open_store(s3_store_url)
    with pytest.raises(StoreDenied, match="AWS_") as caught:
        await store.check()
    assert "very-secret" not in caught.value.message
    await store.close()


async def test_an_endpoint_that_is_no_url(
    s3_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "localhost:9000")
    store = open_store(s3_store_url)
    with pytest.raises(MisconfiguredError, match="AWS_"):
        await store.list("")
    await store.close()


async def test_the_check_finds_a_server_that_overwrites(store: S3Store, wire: Wire) -> None:
    def unconditional(request: AWSPreparedRequest) -> None:
        del request.headers["If-None-Match"]

    wire.answer("PutObject", unconditional, unconditional)
    with pytest.raises(StoreDenied, match="conditional writes"):
        await store.check()
    assert await store.list("") == []


async def test_a_long_object_where_its_end_takes_no_condition(store: S3Store, wire: Wire) -> None:
    """Its key is nobody else's: the condition is left out, and the key looked at before."""

    async def upload(key: str) -> None:
        wire.answer("CompleteMultipartUpload", status(501, "NotImplemented"))
        long = store.upload(key, media_type=WAV)
        await long.write(bytes(2 * PART))
        await long.commit()

    await upload("a")
    assert (await store.head("a")).size == 2 * PART
    with pytest.raises(ObjectExists):
        await upload("a")


@pytest.mark.parametrize(
    "operation", ["PutObject", "CreateMultipartUpload", "ListMultipartUploads", "DeleteObject"]
)
async def test_the_check_finds_what_a_server_lacks(
    store: S3Store, wire: Wire, operation: str
) -> None:
    wire.answer(operation, *[status(501, "NotImplemented")] * 9)
    with pytest.raises(StoreDenied, match=f"lacks what speechfleet needs of {operation}"):
        await store.check()


async def test_a_whole_object_is_asked_for_without_a_range(store: S3Store, wire: Wire) -> None:
    await store.put("a", b"", media_type=WAV)
    assert await store.get("a") == b""
    assert "Range" not in wire.headers[-1]


async def test_the_check_finds_what_may_not_be_listed(store: S3Store, wire: Wire) -> None:
    wire.answer("ListObjectsV2", *[status(403, "AccessDenied")] * 2)
    with pytest.raises(StoreDenied, match="ListBucket"):
        await store.check()


async def test_a_store_without_a_prefix(s3_store_url: str) -> None:
    below, whole = open_store(s3_store_url), open_store("s3://speechfleet")
    assert (below.url, whole.url) == ("s3://speechfleet/fleet", "s3://speechfleet")
    await below.put("a/b", b"1", media_type=WAV)
    assert await whole.list("") == ["fleet/a/b"]
    assert await whole.get("fleet/a/b") == b"1"
    await whole.put("fleetless", b"1", media_type=WAV)
    assert await below.list("") == ["a/b"]
    await below.close()
    await whole.close()


async def test_links_last_a_week_at_most(store: S3Store) -> None:
    url = await store.link("a", expires=60)
    assert "X-Amz-Expires=60" in url
    assert "X-Amz-Signature=" in url
    for expires in (0, 7 * 86400 + 1):
        with pytest.raises(InvalidRequest):
            await store.link("a", expires)


async def test_more_keys_than_a_page(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = store._bucket.client
    listing = client.get_paginator

    class Pages:
        def __init__(self, name: str) -> None:
            self._pages = listing(name)

        def paginate(self, **arguments: Any) -> Any:
            return self._pages.paginate(**arguments, PaginationConfig={"PageSize": 2})

    monkeypatch.setattr(client, "get_paginator", Pages)
    keys = [f"k{number}" for number in range(7)]
    for key in keys:
        await store.put(key, b"", media_type=WAV)
    assert await store.list("k") == keys
    assert await store.sweep("k") == 7


async def test_what_other_servers_need(store: S3Store, wire: Wire) -> None:
    """No checksums but where S3 requires them, no bucket in the host name."""
    await store.put("a", b"1", media_type=WAV)
    (headers,) = wire.headers
    assert headers["If-None-Match"] == "*"
    assert not [name for name in headers if "checksum" in name.lower()]
    assert "/speechfleet/fleet/a?" in await store.link("a")


async def test_a_body_is_sent_without_asking_first(store: S3Store) -> None:
    """botocore spins for ever where the connection ends within "100 Continue"."""
    wire = Wire(store)
    await store.put("a", b"audio", media_type=WAV)
    upload = store.upload("b", media_type=WAV)
    await upload.write(bytes(2 * PART + 1))
    await upload.commit()
    assert "UploadPart" in wire.sent
    assert not any("expect" in {name.lower() for name in each} for each in wire.headers)
