"""Errors as HTTP answers, in OpenAI's form, for every route.

{"error": {"message", "type", "param", "code", "retryable"}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from speechfleet.errors import InvalidRequest, JobFailed, ProviderError, SpeechFleetError


class GatewayError(SpeechFleetError):
    """A request that is not let in. ``status``: of the answer."""

    code = "gateway_error"
    status = 400


class KeyRefused(GatewayError):
    """No API key, or one that is not known."""

    code = "missing_api_key"
    status = 401


class OriginRefused(GatewayError):
    """A page of another site, or a name of this host that is not ours."""

    code = "origin_refused"
    status = 403


class BodyTooLarge(GatewayError):
    """More bytes than a request may have."""

    code = "body_too_large"
    status = 413


class BodyTooSlow(GatewayError):
    """The body did not come in time."""

    code = "body_too_slow"
    status = 408


class RangeRefused(GatewayError):
    """No byte of what is there is in the range that was asked for."""

    code = "range_not_satisfiable"
    status = 416


class TooManyStreams(GatewayError):
    """The key has as many streams open as it may."""

    code = "too_many_streams"
    status = 429
    retryable = True


class NotServed(GatewayError):
    """No live worker takes jobs of this provider."""

    code = "no_worker"
    status = 503
    retryable = True


class NoAudioYet(GatewayError):
    """The first audio did not come in time."""

    code = "first_audio_timeout"
    status = 504
    retryable = True


STATUS = {
    "unknown_model": 404,
    "job_not_found": 404,
    "object_missing": 404,
    "conflict": 409,
    "illegal_transition": 409,
    "cancelled": 409,
    "request_rejected": 400,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "fleet_unavailable": 503,
    "fleet_full": 503,
    "store_unavailable": 503,
    "store_denied": 503,
    "provider_timeout": 504,
    "result_timeout": 504,
}
"""Of codes: what a job failed of is known by its code alone."""
ASKED_WRONGLY = 400
PROVIDERS_FAULT = 502
OURS = 500
RETRY_AFTER = {429: 1, 503: 2}
"""Seconds that a client is asked to wait."""
TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Json(JSONResponse):
    """JSON that can always be sent: what is no Unicode is escaped."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def status_of(error: SpeechFleetError) -> int:
    if isinstance(error, GatewayError):
        return error.status
    if error.code in STATUS:
        return STATUS[error.code]
    if isinstance(error, InvalidRequest) or error.code in _asked_wrongly():
        return ASKED_WRONGLY
    return PROVIDERS_FAULT if isinstance(error, JobFailed | ProviderError) else OURS


def _asked_wrongly() -> set[str]:
    kinds = [InvalidRequest]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {kind.code for kind in kinds}


def body_of(
    message: str, status: int, *, code: str | None = None, param: str | None = None,
    retryable: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """An error in OpenAI's form."""
    kind = TYPES.get(status, "server_error" if status >= OURS else "invalid_request_error")
    told = {"message": message, "type": kind, "param": param, "code": code}
    return {"error": {**told, "retryable": retryable}}


def error_body(error: SpeechFleetError) -> dict[str, Any]:
    return body_of(error.message, status_of(error), code=error.code, retryable=error.retryable)


def headers_of(status: int, *, retryable: bool) -> dict[str, str]:
    headers = {"x-should-retry": "true" if retryable else "false"}  # OpenAI's SDKs go by it
    if status in RETRY_AFTER:
        headers["retry-after"] = str(RETRY_AFTER[status])
    if status == KeyRefused.status:
        headers["www-authenticate"] = "Bearer"
    return headers


def answer(error: SpeechFleetError) -> Response:
    status = status_of(error)
    headers = headers_of(status, retryable=error.retryable)
    return Json(error_body(error), status, headers)


def install(app: FastAPI) -> None:
    """Every error that a route raises becomes such an answer."""

    async def ours(_: Request, error: Exception) -> Response:
        assert isinstance(error, SpeechFleetError)
        return answer(error)

    async def wrong_shape(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problem = error.errors()[0]
        return Json(_told(problem), ASKED_WRONGLY, headers_of(ASKED_WRONGLY, retryable=False))

    async def of_routing(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        body = body_of(str(error.detail), error.status_code)
        return Json(body, error.status_code, error.headers)

    async def unforeseen(_: Request, error: Exception) -> Response:
        return Json(body_of("an error of the gateway itself; its log tells more", OURS), OURS)

    app.add_exception_handler(SpeechFleetError, ours)
    app.add_exception_handler(RequestValidationError, wrong_shape)
    app.add_exception_handler(HTTPException, of_routing)
    app.add_exception_handler(Exception, unforeseen)


def _told(problem: Mapping[str, Any]) -> dict[str, Any]:
    # Of a body that is no JSON the place is an offset, and no parameter's name.
    path = () if problem["type"] == "json_invalid" else problem["loc"][1:]
    where = ".".join(map(str, path))
    message = f"{where}: {problem['msg']}" if where else str(problem["msg"])
    return body_of(message[:1000], ASKED_WRONGLY, code="invalid_request", param=where or None)
