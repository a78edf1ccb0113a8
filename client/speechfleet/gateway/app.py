"""The application: routes, and what every request passes on its way to them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from speechfleet.gateway import audio, catalogue, events, failures, fleet, jobs, login, speech
from speechfleet.gateway.failures import Json
from speechfleet.gateway.limits import BodyLimit
from speechfleet.gateway.security import Guard
from speechfleet.gateway.state import Gateway
from speechfleet.gateway.watching import Watch
from speechfleet.settings import Settings

CONSOLE = Path(__file__).parent / "console"
ROUTERS = (
    speech.router,
    catalogue.router,
    jobs.router,
    audio.router,
    events.router,
    fleet.router,
    login.router,
)


class RawPath:
    """Routes are matched against the path as it was sent: ``a%2Fb`` is one id, not two names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            scope["path"] = scope["raw_path"].decode("ascii", "replace")
        await self._app(scope, receive, send)


def create_app(settings: Settings) -> FastAPI:
    """An ASGI application of its own. Raises MisconfiguredError, IllegalId."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        app.state.gateway = gateway = Gateway(settings)
        try:
            yield
        finally:
            await gateway.close()

    app = FastAPI(
        title="speechfleet",
        version=version("speechfleet"),
        description="Speech from a fleet of workers. A key goes into `Authorization: Bearer`.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        default_response_class=Json,
        responses={"4XX": {"description": "An error in OpenAI's form."}},
    )
    failures.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/", StaticFiles(directory=CONSOLE, html=True, check_dir=False), name="console")
    # The last one added is the first that a request meets.
    app.add_middleware(RawPath)
    app.add_middleware(BodyLimit, limit=settings.gateway_body)
    if settings.gateway_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.gateway_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "idempotency-key", "last-event-id", "range"],
            expose_headers=["x-job-id", "x-sample-rate", "location", "content-range", "etag"],
        )
    app.add_middleware(
        Guard, origins=settings.gateway_origins, loopback_only=not settings.gateway_keys
    )
    app.add_middleware(Watch)
    return app
