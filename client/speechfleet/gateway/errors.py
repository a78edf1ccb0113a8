"""Errors of requests that the gateway refuses, each with the status of its answer."""

from __future__ import annotations

from collections.abc import Mapping

from speechfleet.errors import SpeechFleetError


class GatewayError(SpeechFleetError):
    """The gateway refuses a request. ``status``: of the answer."""

    code = "gateway_error"
    status = 400
    headers: Mapping[str, str] = {}
    """Headers of the answer, beside those of its status."""


class KeyRefused(GatewayError):
    """The request has no API key, or an unknown one."""

    code = "missing_api_key"
    status = 401


class ScopeMissing(GatewayError):
    """The key lacks the scope that the request needs."""

    code = "scope_missing"
    status = 403


class OperatorsOnly(GatewayError):
    """The key sees its namespace alone, and the request is about the whole fleet."""

    code = "operators_only"
    status = 403


class OriginRefused(GatewayError):
    """The request comes from another site's page, or from another machine without a key."""

    code = "origin_refused"
    status = 403


class MalformedHead(GatewayError):
    """The request's head has no meaning, or two."""

    code = "malformed_request"


class BodyTooLarge(GatewayError):
    """The body has more bytes than a request may have."""

    code = "body_too_large"
    status = 413


class BodyTooSlow(GatewayError):
    """The body was not complete in time."""

    code = "body_too_slow"
    status = 408


class RangeRefused(GatewayError):
    """No byte of the audio is in the range that the request asks for."""

    code = "range_not_satisfiable"
    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"the audio has {size:,} bytes")
        self.headers = {"content-range": f"bytes */{size}"}


class PreconditionFailed(GatewayError):
    """The stored audio is another version than the request asks for."""

    code = "precondition_failed"
    status = 412


class FileNotFound(GatewayError):
    """No file has this id: it was never uploaded, is deleted, or has expired."""

    code = "file_not_found"
    status = 404


class TooManyStreams(GatewayError):
    """The key has as many streams open as it may have."""

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
