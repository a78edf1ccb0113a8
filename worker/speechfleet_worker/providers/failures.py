"""From an HTTP answer to an error of ours: the one table that decides what may be tried again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from speechfleet.errors import (
    AuthenticationFailed,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
)

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
    """The error that an HTTP status stands for: 5xx may be tried again, other 4xx never."""
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
    """The error for an answer of ``status``, or of ``kind`` where the provider's code says more.

    ``secrets`` are struck out of the message: providers quote the key they refuse.
    """
    return (kind or kind_of(status))(
        readable(message, secrets) or f"the provider answered with HTTP {status}",
        provider_code=provider_code,
        request_id=request_id,
        status=status,
        retry_after=retry_after,
    )


def readable(message: str, secrets: Iterable[str] = ()) -> str:
    """One line of at most 400 characters, without secrets; "" for a page of HTML."""
    for secret in secrets:
        if secret:
            message = message.replace(secret, "***")
    text = " ".join(message.split())
    if text.startswith("<"):
        return ""
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``Retry-After`` (seconds, or an HTTP date).

    None where neither is there or can be read; a date that has passed is 0.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _number(value: str | None) -> float | None:
    try:
        return max(0.0, float(value or ""))
    except ValueError:
        return None
