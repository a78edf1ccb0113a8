"""The access log: one line for every request, and the count of requests."""

from __future__ import annotations

import logging
import re
import time
import uuid
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechfleet.gateway.access import CALLER
from speechfleet.gateway.error_responses import internal_error_response
from speechfleet.observability import logs

log = logging.getLogger("speechfleet.gateway")

UNMATCHED = "unmatched"
"""The route, in logs and metrics, of requests that match none: their paths have no bound."""
CLIENT_LEFT = 499
SWITCHING_PROTOCOLS = 101
LONGEST_ID = 256
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}").fullmatch


class AccessLog:
    """Log and count every request, and give every answer an ``x-request-id``.

    It is the outermost layer, so that it sees the answer that the client gets. The id is the
    client's own where that is a plain one, and a new one otherwise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        began, status, job = time.monotonic(), CLIENT_LEFT, job_of(scope)
        request_id = _request_id(Headers(scope=scope))

        async def watched(message: Message) -> None:
            nonlocal status, job
            if message["type"] == "websocket.accept":
                status = SWITCHING_PROTOCOLS
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                headers = MutableHeaders(scope=message)
                job = headers.get("x-job-id", job)
                headers["x-request-id"] = request_id
            await send(message)

        token = logs.job.set(job)
        try:
            await self._app(scope, receive, watched)
        except Exception:
            if status == CLIENT_LEFT:  # nothing was answered yet
                await internal_error_response()(scope, receive, watched)
            raise
        finally:
            logs.job.reset(token)
            self._log(scope, status, job, request_id, time.monotonic() - began)

    def _log(self, scope: Scope, status: int, job: str, request_id: str, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope.get("method", "WEBSOCKET")
        labels = (route, method, str(status))
        scope["app"].state.gateway.metrics.requests.labels(*labels).inc()
        client = scope["client"][0] if scope.get("client") else "-"
        fields = {
            "status": status,
            "seconds": round(seconds, 3),
            "route": route,
            "client": client,
            "key": caller.key_id if (caller := scope.get(CALLER)) else "",
            "request": request_id,
        }
        log.info(
            "%s %s %d %.0f ms, from %s", method, route, status, 1000 * seconds, client,
            extra={"job": job, "fields": fields},
        )  # fmt: skip


def job_of(scope: Scope) -> str:
    """Return the job's id in the path, "-" where there is none."""
    parts = scope.get("raw_path", b"").decode("ascii", "replace").split("/")
    return unquote(parts[2])[:LONGEST_ID] if len(parts) > 2 and parts[1] == "jobs" else "-"


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID(given) else uuid.uuid4().hex
