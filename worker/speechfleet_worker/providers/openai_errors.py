"""From the OpenAI SDK's errors, and from what servers say in a body, to errors of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from speechfleet.errors import (
    IncompleteAudio,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
)
from speechfleet.settings import Timeouts
from speechfleet_worker.providers.failures import (
    failure,
    is_redirect,
    kind_of,
    readable,
    redirected,
    retry_after,
    unreachable,
)
from speechfleet_worker.providers.timeouts import connect_timeout

if TYPE_CHECKING:
    from openai import APIStatusError

QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


@contextmanager
def mapped(key: str, address: str, timeouts: Timeouts) -> Iterator[None]:
    """Turn the SDK's errors, and its transport's, into ours; nothing else does."""
    import httpx2
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        raise refused(error, key) from None
    except (openai.APITimeoutError, httpx2.TimeoutException):
        raise connect_timeout(timeouts.connect, address) from None
    except openai.APIConnectionError as error:
        raise unreachable(address, error.__cause__ or error) from None
    except httpx2.HTTPError as error:
        raise ProviderUnavailable(f"the connection to {address} broke: {error}") from None
    except openai.OpenAIError as error:
        raise ProviderError(readable(str(error), (key,))) from None


def refused(error: APIStatusError, key: str) -> ProviderError:
    if is_redirect(error.status_code):
        return redirected(error.status_code)
    code, message = code_and_message(error.body)
    return failure(
        error.status_code,
        message,
        kind=QuotaExceeded if code in QUOTA_CODES else None,
        provider_code=code,
        request_id=error.request_id or "",
        retry_after=retry_after(error.response.headers),
        secrets=(key,),
    )


def not_audio(media_type: str, body: bytes, key: str) -> ProviderError:
    """Make the error for a 200 without audio: some servers put the error into the body."""
    try:
        return said(json.loads(body), key)
    except ValueError:
        return IncompleteAudio(f"the server answered with {media_type.partition(';')[0]}")


def said(body: object, key: str) -> ProviderError:
    """Make the error for an answer without an error's status."""
    code, message = code_and_message(body)
    status = int(code) if code.isdecimal() and 400 <= int(code) < 600 else 0
    kind = QuotaExceeded if code in QUOTA_CODES else kind_of(status) if status else None
    return failure(
        status or 200,
        message or "the server answered without audio",
        kind=kind or IncompleteAudio,
        provider_code=code,
        secrets=(key,),
    )


def code_and_message(body: object) -> tuple[str, str]:
    """Read OpenAI's ``error`` object, or the ``detail`` of compatible servers."""
    inner = body
    if isinstance(body, dict):
        inner = body.get("error") or body.get("detail") or body
    if isinstance(inner, dict):
        code = inner.get("code") or inner.get("error") or inner.get("type") or ""
        return str(code), str(inner.get("message") or inner.get("detail") or "")
    return "", inner if isinstance(inner, str) else json.dumps(inner)


def refused_handshake(
    status: int, body: bytes, headers: Mapping[str, str], key: str
) -> ProviderError:
    """Make the error for a WebSocket that the server did not open."""
    if is_redirect(status):
        return redirected(status)
    try:
        code, message = code_and_message(json.loads(body or b"{}"))
    except ValueError:
        code, message = "", ""
    lower = {name.lower(): value for name, value in headers.items()}
    return failure(
        status,
        message,
        kind=QuotaExceeded if code in QUOTA_CODES else None,
        provider_code=code,
        request_id=lower.get("x-request-id", ""),
        retry_after=retry_after(lower),
        secrets=(key,),
    )
