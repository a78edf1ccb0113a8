"""The application: its routes, and the layers that every request passes on its way to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from speechfleet.gateway import (
    activity_routes,
    audio_routes,
    batch_progress_routes,
    caption_routes,
    error_responses,
    event_routes,
    fleet_routes,
    job_list_routes,
    job_routes,
    login_routes,
    model_routes,
    provider_routes,
    speech_routes,
    take_routes,
    tenant_routes,
)
from speechfleet.gateway.access_log import AccessLog
from speechfleet.gateway.batches import batch_routes, file_routes
from speechfleet.gateway.body_limit import BodyLimit
from speechfleet.gateway.context import Gateway
from speechfleet.gateway.error_responses import Json
from speechfleet.gateway.key_check import LISTS, OPEN_PATHS, KeyCheck
from speechfleet.gateway.routing import HeadRequests, RawPath, add_console, console_paths
from speechfleet.gateway.security import OriginCheck
from speechfleet.gateway.sockets import realtime_route, text_route, unknown_route
from speechfleet.settings import Settings

ROUTERS = (
    speech_routes.router,
    model_routes.router,
    job_routes.router,
    job_list_routes.router,
    take_routes.router,
    audio_routes.router,
    file_routes.router,
    batch_routes.router,
    text_route.router,
    realtime_route.router,
    unknown_route.router,
    caption_routes.router,
    event_routes.router,
    fleet_routes.router,
    tenant_routes.router,
    activity_routes.router,
    batch_progress_routes.router,
    provider_routes.router,
    login_routes.router,
)
EXPOSED = (
    "x-job-id x-request-id x-sample-rate x-should-retry retry-after location content-range etag"
)
"""Headers of answers that pages of other sites may read."""


def create_app(settings: Settings) -> FastAPI:
    """Build the ASGI application of one gateway. Raises MisconfiguredError, IllegalId."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        app.state.gateway = gateway = Gateway(settings)
        checks = asyncio.create_task(gateway.batch_checks.run())
        try:
            yield
        finally:
            checks.cancel()
            await asyncio.wait([checks])
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
    error_responses.install(app)
    for router in ROUTERS:
        app.include_router(router)
    add_console(app)
    _add_layers(app, settings)
    return app


def _add_layers(app: FastAPI, settings: Settings) -> None:
    """Add the middleware; the last one added is the first that a request meets."""
    open_paths = OPEN_PATHS | console_paths().keys()
    if settings.gateway_open_lists:
        open_paths |= LISTS
    app.add_middleware(HeadRequests)
    uploads = {file_routes.router.prefix: settings.gateway_file}
    app.add_middleware(BodyLimit, limit=settings.gateway_body, uploads=uploads)
    app.add_middleware(KeyCheck, open_paths=open_paths)
    app.add_middleware(RawPath)
    if settings.gateway_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.gateway_origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            # SDKs for browsers send headers of their own (x-stainless-*); none of ours is
            # dangerous, and only the origins of the setting are let in.
            allow_headers=["*"],
            expose_headers=EXPOSED.split(),
        )
    app.add_middleware(
        OriginCheck, origins=settings.gateway_origins, loopback_only=not settings.has_gateway_keys
    )
    app.add_middleware(AccessLog)
