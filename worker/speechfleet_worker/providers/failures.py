"""Make the error for an HTTP answer, by a table of statuses."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from speechfleet.errors import (
    AuthenticationFailed,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)
from speechfleet.provider_values import bounded_delay, printable

KINDS: dict[int, type[ProviderError]] = {
    401: AuthenticationFailed,
    402: QuotaExceeded,
    403: AuthenticationFailed,
    407: ProviderUnavailable,
    408: ProviderUnavailable,
    409: ProviderUnavailable,
    425: ProviderUnavailable,
    429: RateLimited,
}
LONGEST_MESSAGE = 400


def kind_of(status: int) -> type[ProviderError]:
    """Choose the error for an HTTP status: 5xx may be tried again, other 4xx never."""
    if status >= 500:
        return ProviderUnavailable
    return KINDS.get(status, RequestRejected)


def failure(
    status: int,
    message: str,
    *,
    kind: type[ProviderError] | None = None,
    provider_code: str = "",
    request_id: str = "",
    retry_after: float | None = None,
    secrets: Iterable[str] = (),
) -> ProviderError:
    """Make the error for an answer of ``status``, or of ``kind`` where the code says more.

    ``secrets`` are struck out of everything: providers quote the key they refuse.
    """
    secrets = [secret for secret in secrets if secret]
    return (kind or kind_of(status))(
        readable(message, secrets) or f"the provider answered with HTTP {status}",
        provider_code=without(secrets, provider_code),
        request_id=without(secrets, request_id),
        status=status,
        retry_after=retry_after,
    )


def readable(message: str, secrets: Iterable[str] = ()) -> str:
    """Make one line of at most 400 characters, without secrets; "" of a page of HTML."""
    text = printable(without(secrets, message), LONGEST_MESSAGE + 1)
    if text.startswith("<"):
        return ""
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def shown_address(url: str) -> str:
    """Show a server's address without user, password and query."""
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return "the server"
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")


def unreachable(address: str, error: BaseException) -> ProviderUnavailable:
    """Make the error for a connection that could not be made, or broke."""
    causes = iter_causes(error)
    if any(isinstance(cause, ConnectionRefusedError) or _refused(cause) for cause in causes):
        return ProviderUnavailable(f"{address} refused the connection")
    return ProviderUnavailable(f"{address} cannot be reached ({type(error).__name__})")


def iter_causes(error: BaseException | None) -> list[BaseException]:
    """List an error and what caused it, the outermost first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _refused(error: BaseException) -> bool:
    # Some transports raise one error for all the addresses that they tried.
    return getattr(error, "errno", None) == errno.ECONNREFUSED or "refused" in str(error).lower()


def is_redirect(status: int) -> bool:
    return 300 <= status < 400


def redirected(status: int) -> ProviderError:
    """Make the error for a redirect: following it could ask anything that a worker reaches."""
    message = f"the server redirects (HTTP {status}), which is not followed: give its own address"
    return RequestRejected(message, status=status)


def without(secrets: Iterable[str], text: str) -> str:
    """Strike every secret out of a text."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read the seconds to wait from ``retry-after-ms`` or ``Retry-After`` (seconds or a date).

    None where neither is there or can be read; a date that has passed is 0; an hour at most.
    """
    milliseconds = seconds_in(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = seconds_in(value)
    if seconds is not None or not value:
        return seconds
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return bounded_delay((date - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


def seconds_in(value: str | None) -> float | None:
    """Read a number of seconds; None if the text is not a number, or is ``nan``."""
    try:
        return bounded_delay(float(value or ""))
    except ValueError:
        return None
