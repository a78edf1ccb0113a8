"""Errors as HTTP answers, in OpenAI's form, for every route.

{"error": {"message", "type", "param", "code", "retryable"}}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from speechfleet.errors import InvalidRequest, JobFailed, ProviderError, SpeechFleetError
from speechfleet.gateway.errors import GatewayError, KeyRefused
from speechfleet.gateway.routing import nearest_path
from speechfleet.quotas import NamespaceQuotaExceeded

STATUS_OF_CODE = {
    "unknown_model": 404,
    "job_not_found": 404,
    "batch_not_found": 404,
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
"""Error code -> status. The code is all that is known of a job's failure."""
BAD_REQUEST, SERVER_ERROR, BAD_GATEWAY = 400, 500, 502
RETRY_AFTER_S = {429: 1, 503: 2}
"""Status -> seconds that a client is asked to wait."""
LONGEST_RETRY_AFTER_S = 60
"""Seconds up to which a client may try again by itself; a quota may begin anew in weeks."""
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""Status -> OpenAI's type of error; other statuses have the type of their class."""
ROUTING_CODES = {404: "not_found", 405: "method_not_allowed"}
MESSAGE_CHARACTERS = 1000


class Json(JSONResponse):
    """A JSON answer in ASCII, so that a lone surrogate can be sent as well."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def status_of(error: SpeechFleetError) -> int:
    """Return the status of the answer to an error."""
    if isinstance(error, GatewayError):
        return error.status
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    if isinstance(error, InvalidRequest) or error.code in _codes_of_bad_requests():
        return BAD_REQUEST
    return BAD_GATEWAY if isinstance(error, JobFailed | ProviderError) else SERVER_ERROR


def _codes_of_bad_requests() -> set[str]:
    kinds = [InvalidRequest]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {kind.code for kind in kinds}


def error_body(
    message: str, status: int, *, code: str | None = None, param: str | None = None,
    retryable: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Return an error in OpenAI's form."""
    default = "server_error" if status >= SERVER_ERROR else "invalid_request_error"
    kind = OPENAI_TYPES.get(status, default)
    error = {"message": message, "type": kind, "param": param, "code": code}
    return {"error": {**error, "retryable": retryable}}


def body_of(error: SpeechFleetError) -> dict[str, Any]:
    """Return one of our errors in OpenAI's form."""
    return error_body(error.message, status_of(error), code=error.code, retryable=error.retryable)


def error_headers(status: int, *, retryable: bool) -> dict[str, str]:
    """Return the headers of an error: OpenAI's SDKs retry by ``x-should-retry``."""
    headers = {"x-should-retry": "true" if retryable else "false"}
    if status in RETRY_AFTER_S:
        headers["retry-after"] = str(RETRY_AFTER_S[status])
    if status == KeyRefused.status:
        headers["www-authenticate"] = "Bearer"
    return headers


def error_response(error: SpeechFleetError) -> Response:
    """Return the answer to one of our errors."""
    status = status_of(error)
    headers = error_headers(status, retryable=error.retryable)
    if isinstance(error, GatewayError):
        headers |= error.headers
    if isinstance(error, NamespaceQuotaExceeded):
        headers = _quota_headers(error)
    return Json(body_of(error), status, headers)


def _quota_headers(error: NamespaceQuotaExceeded) -> dict[str, str]:
    """Return when to come again; SDKs do so by themselves only where it is soon."""
    after = error.retry_after
    headers = error_headers(0, retryable=after is not None and after <= LONGEST_RETRY_AFTER_S)
    return headers if after is None else {**headers, "retry-after": str(math.ceil(after))}


def internal_error_response() -> Response:
    """Return the answer where the gateway itself failed."""
    body = error_body("an error of the gateway itself; see its log", SERVER_ERROR)
    return Json(body, SERVER_ERROR)


def install(app: FastAPI) -> None:
    """Answer every error that a route raises in this form."""

    async def on_our_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, SpeechFleetError)
        return error_response(error)

    async def on_invalid_request(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        body = _invalid_request_body(error.errors()[0], error.body)
        return Json(body, BAD_REQUEST, error_headers(BAD_REQUEST, retryable=False))

    async def on_routing_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status, message = error.status_code, str(error.detail)
        code = ROUTING_CODES.get(status)
        if code == "not_found":
            path = nearest_path(app, request.url.path)
            advice = f"did you mean {path}?" if path else "see /docs"
            message = f"there is no {request.url.path[:200]!r} here; {advice}"
        headers = error_headers(status, retryable=False) | dict(error.headers or {})
        return Json(error_body(message, status, code=code), status, headers)

    async def on_any_error(_: Request, error: Exception) -> Response:
        return internal_error_response()

    app.add_exception_handler(SpeechFleetError, on_our_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(HTTPException, on_routing_error)
    app.add_exception_handler(Exception, on_any_error)


def describe_problem(path: Iterable[int | str], problem: Mapping[str, Any]) -> tuple[str, str]:
    """Return the field that pydantic found a problem in, "" for the whole, and the message."""
    field = ".".join(map(str, path))
    return field, f"{field}: {problem['msg']}" if field else str(problem["msg"])


def _invalid_request_body(problem: Mapping[str, Any], body: Any) -> dict[str, Any]:
    # For a body that is not JSON, the location is an offset and not a field's name.
    path = () if problem["type"] == "json_invalid" else problem["loc"][1:]
    field, message = describe_problem(path, problem)
    if isinstance(body, bytes):  # FastAPI has not parsed it
        message = "the body was not read as JSON: send the header `content-type: application/json`"
    return error_body(
        message[:MESSAGE_CHARACTERS], BAD_REQUEST, code="invalid_request", param=field or None
    )
