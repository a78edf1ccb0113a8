"""Matching of paths and methods: raw paths, HEAD like GET, and the console's files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONSOLE = Path(__file__).parent / "console"
INDEX = "index.html"
PAGES = {"/docs": "docs.html"}
"""Paths of pages that have a name of their own."""
_IS_HEAD = "speechfleet.head"


class RawPath:
    """Match routes against the path as it was sent: ``a%2Fb`` is one id, not two names."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and scope.get("raw_path"):
            scope["path"] = scope["raw_path"].decode("ascii", "replace")
        await self._app(scope, receive, send)


class HeadRequests:
    """Answer HEAD wherever there is GET, with the same head and no body (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        inner = {**scope, "method": "GET", _IS_HEAD: True}

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(inner, receive, send_head)
        finally:
            if "route" in inner:  # for the log
                scope["route"] = inner["route"]


def is_head(scope: Scope) -> bool:
    """Tell whether the client wants no body: endless answers end then."""
    return _IS_HEAD in scope


def console_paths() -> dict[str, str]:
    """Return the path of each page and file of the console, with the file's name."""
    files = {f"/{file.name}": file.name for file in sorted(CONSOLE.iterdir()) if file.is_file()}
    return {"/": INDEX, **PAGES, **files}


def add_console(app: FastAPI) -> None:
    """Add a route for each file of the console, so that other paths are not found."""
    files = StaticFiles(directory=CONSOLE)
    for path, name in console_paths().items():
        app.router.routes.append(Route(path, _file(files, name), include_in_schema=False))


def nearest_path(app: FastAPI, path: str) -> str:
    """Return the path that a client may have meant; "" where none is near."""
    known = sorted(app.openapi()["paths"])
    path = path.rstrip("/")
    same_end = [
        route
        for route in known
        if path.endswith(route) or (len(path) > 1 and route.endswith(path))
    ]
    return next(iter([*same_end, *get_close_matches(path, known, n=1)]), "")


def _file(files: StaticFiles, name: str) -> Callable[[Request], Awaitable[Response]]:
    async def file(request: Request) -> Response:
        response = await files.get_response(name, request.scope)
        response.headers["cache-control"] = "no-cache"  # asked for again, by its etag
        return response

    return file
