"""Every request counted, and told in one line of the log."""

from __future__ import annotations

import logging
import time
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speechfleet import logs

log = logging.getLogger("speechfleet.gateway")
UNMATCHED = "console"
"""The route of whatever no route matches: names of its own would be without bound."""


class Watch:
    """Outermost: what it tells is what the client got."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, job = time.monotonic(), 499, _job(scope)

        async def watched(message: Message) -> None:
            nonlocal status, job
            if message["type"] == "http.response.start":
                status = message["status"]
                told = dict(message["headers"]).get(b"x-job-id")
                job = told.decode("ascii") if told else job
            await send(message)

        token = logs.job.set(job)
        try:
            await self._app(scope, receive, watched)
        finally:
            logs.job.reset(token)
            self._tell(scope, status, job, time.monotonic() - began)

    def _tell(self, scope: Scope, status: int, job: str, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        labels = (route, scope["method"], str(status))
        scope["app"].state.gateway.metrics.requests.labels(*labels).inc()
        fields = {"status": status, "seconds": round(seconds, 3), "route": route}
        log.info(
            "%s %s %d %.0f ms", scope["method"], route, status, 1000 * seconds,
            extra={"job": job, "fields": fields},
        )  # fmt: skip


def _job(scope: Scope) -> str:
    """The id in the path, where there is one."""
    parts = scope.get("raw_path", b"").decode("ascii", "replace").split("/")
    return unquote(parts[2]) if len(parts) > 2 and parts[1] == "jobs" else "-"
