"""Connects to a bucket: credentials, region, endpoint and addressing by the AWS_* variables.

Buckets are addressed as the user's AWS configuration says (``s3: addressing_style``). Without
one, Amazon decides itself; other servers get paths (``http://host/bucket/key``), which all of
them know but those that insist on ``http://bucket.host/key``: Alibaba OSS, Tencent COS and the
like. These are known by name, or by the error with which they refuse a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit, urlunsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import ConnectionError as TransportError

from speechfleet.errors import MisconfiguredError, StoreDenied, StoreError, StoreUnavailable
from speechfleet.store.threads import THREADS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Style = Literal["auto", "virtual", "path"]
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 30
TRIES = 3
AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
WANT_VIRTUAL_HOSTS = (".aliyuncs.com", ".myqcloud.com", ".volces.com", ".ivolces.com")
"""Endings of the hosts of Alibaba OSS, Tencent COS and Volcengine TOS."""
PATH_REFUSED = {
    "SecondLevelDomainForbidden", "PathStyleDomainForbidden", "InvalidPathAccess",
    "VirtualHostDomainRequired",
}  # fmt: skip
"""Codes of servers that take no paths; others say so in the message."""
_WANTS_VIRTUAL_HOST = re.compile(r"virtual[ -]?(?:hosted|host|styled|style)", re.IGNORECASE)

CONFLICTS = {"ConditionalRequestConflict", "OperationAborted"}
TEMPORARY = {"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", *CONFLICTS}
LOST = (HTTPClientError, TransportError, IncompleteReadError, CredentialRetrievalError)
"""botocore's errors of transport. Its others lie in the settings."""
TOO_MANY_REQUESTS, SERVER_ERROR, NOT_IMPLEMENTED = 429, 500, 501
SERVERS_PAGE = "the page 'Object stores' of the documentation"


def connect(bucket: str) -> S3Client:
    """Make a client for one bucket; nothing is sent yet. Raises MisconfiguredError.

    Importing boto3 takes a while: call it in a thread.
    """
    import boto3.session  # noqa: PLC0415 # takes a while; runs in a thread
    import botocore.session  # noqa: PLC0415 # likewise
    from botocore.handlers import add_expect_header  # noqa: PLC0415 # likewise

    try:
        # Not boto3's default session: that one is shared and not safe among threads.
        core = botocore.session.Session()
        session = boto3.session.Session(botocore_session=core)
        region = session.region_name or os.environ.get("AWS_REGION")
        style = _configured_style(core.get_scoped_config())
        client = _client(session, region, style or "path")
        usual = style or _usual_style(client.meta.endpoint_url)
        if usual != (style or "path"):
            client = _client(session, region, usual)
    except ValueError as error:
        raise MisconfiguredError(f"an AWS_* variable is wrong: {error}") from error
    if style is None:
        _Readdressing(bucket).register(client)
    # Without "Expect: 100-continue": a way to the server and back for bodies of a few MB, and
    # botocore never stops reading where the connection ends within that answer.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    return client


def _client(session: Any, region: str | None, style: Style) -> S3Client:
    from botocore.config import Config  # noqa: PLC0415 # likewise

    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": style},
        max_pool_connections=THREADS,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        # Servers that are not Amazon's refuse or mangle the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client: S3Client = session.client("s3", region_name=region, config=config)
    return client


def _configured_style(profile: Mapping[str, Any]) -> Style | None:
    """Return the choice in the user's AWS configuration; None if there is none."""
    section = profile.get("s3")
    configured = section.get("addressing_style") if isinstance(section, Mapping) else None
    styles: tuple[Style, ...] = get_args(Style)
    return next((style for style in styles if style == configured), None)


def _usual_style(endpoint: str) -> Style:
    host = urlsplit(endpoint).hostname or ""
    if host.endswith(AMAZON):
        return "auto"
    return "virtual" if host.endswith(WANT_VIRTUAL_HOSTS) else "path"


class _Readdressing:
    """Move the bucket from the path into the host name, once a server has refused a path."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._paths_are_refused = False

    def register(self, client: S3Client) -> None:
        """Follow all requests of a client."""
        events: Any = client.meta.events
        events.register("before-call.s3", self.prepare)
        events.register("needs-retry.s3", self.retry)

    def prepare(self, params: dict[str, Any], **_: object) -> None:
        """Readdress a request before it is signed, where that is known to be needed."""
        if self._paths_are_refused:
            params["url"] = self.virtual(params["url"])

    def retry(
        self,
        response: tuple[object, Mapping[str, Any]] | None,
        request_dict: dict[str, Any],
        **_: object,
    ) -> float | None:
        """Answer botocore's question whether to send a request again: after 0 seconds."""
        if response is None or not refuses_paths(response[1]):
            return None
        url = self.virtual(request_dict["url"])
        if url == request_dict["url"]:
            return None
        self._paths_are_refused = True
        request_dict["url"] = url
        return 0.0

    def virtual(self, url: str) -> str:
        """Return the URL with the bucket in the host; as it is where it has it there already."""
        parts = urlsplit(url)
        path = f"{parts.path}/"
        if parts.netloc.startswith(f"{self._bucket}.") or not path.startswith(f"/{self._bucket}/"):
            return url
        rest = parts.path.removeprefix(f"/{self._bucket}") or "/"
        return urlunsplit(parts._replace(netloc=f"{self._bucket}.{parts.netloc}", path=rest))


def refuses_paths(answer: Mapping[str, Any]) -> bool:
    """Return True if an answer says that the bucket belongs into the host name."""
    error = answer.get("Error", {})
    if error.get("Code") in PATH_REFUSED:
        return True
    return bool(error and _WANTS_VIRTUAL_HOST.search(str(error.get("Message", ""))))


@contextmanager
def mapping(url: str) -> Iterator[None]:
    """Raise a StoreError for each of botocore's errors."""
    try:
        yield
    except ClientError as error:
        raise _own_error(error, url) from error
    except BotoCoreError as error:
        if isinstance(error, LOST):
            raise StoreUnavailable(f"{url}: {error}") from error
        raise StoreDenied(f"{url}: {error}; see the AWS_* variables") from error


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def is_not_implemented(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return code_of(error) == "NotImplemented" or status == NOT_IMPLEMENTED


def is_missing(error: ClientError) -> bool:
    # A HEAD has no body, so botocore knows the status only.
    return code_of(error) in {"NoSuchKey", "NotFound", "404"}


def _own_error(error: ClientError, url: str) -> StoreError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = (
        f"{url}: {error.operation_name}: {error.response.get('Error', {}).get('Message', code)}"
    )
    if is_not_implemented(error):
        return StoreDenied(
            f"{message}; this server lacks what speechfleet needs of {error.operation_name}, and "
            f"trying again does not help: {SERVERS_PAGE} lists servers that have it"
        )
    if code in TEMPORARY or status == TOO_MANY_REQUESTS or status >= SERVER_ERROR:
        return StoreUnavailable(message)
    if code == "NoSuchUpload":
        return StoreError(f"{url}: the unfinished upload was swept", retryable=True)
    if code == "NoSuchBucket":
        return StoreDenied(f"{url}: there is no such bucket; create it, or set SPEECHFLEET_STORE")
    if refuses_paths(error.response):
        message += "; set `addressing_style = virtual` in the s3 section of your AWS configuration"
    elif code == "RequestTimeTooSkewed":
        message += "; set this machine's clock"
    elif status == 403:
        message += "; needed are s3:GetObject, PutObject, DeleteObject, AbortMultipartUpload, "
        message += "ListBucket and ListBucketMultipartUploads, and the right AWS_* credentials"
    return StoreDenied(message)
