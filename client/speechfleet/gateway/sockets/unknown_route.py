"""WebSockets at paths where there is none: an answer that says so, not a bare refusal."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.websockets import WebSocket

from speechfleet.gateway.error_responses import error_response
from speechfleet.gateway.errors import GatewayError

router = APIRouter()
PATHS = ("/v1/audio/speech/stream", "/v1/realtime")


class NoSocketHere(GatewayError):
    """There is no WebSocket at this path."""

    code = "not_found"
    status = 404


@router.websocket("/{path:path}")
async def unknown(websocket: WebSocket, path: str) -> None:
    """Refuse a handshake."""
    error = NoSocketHere(
        f"there is no WebSocket at {path[:200]!r}; there are {' and '.join(PATHS)}"
    )
    await websocket.send_denial_response(error_response(error))
