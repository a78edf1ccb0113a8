"""``/login``: a browser keeps its key in a cookie that no script can read."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from speechfleet.gateway.access import COOKIE, presented
from speechfleet.gateway.failures import Json, KeyRefused
from speechfleet.gateway.state import gateway_of

router = APIRouter(tags=["console"])
A_MONTH = 30 * 86400


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str


@router.get("/login")
async def who(request: Request) -> Response:
    """Whether a key is needed, and the namespace that the request's own one opens."""
    keyring = gateway_of(request).keyring
    caller = keyring.caller(presented(request))
    namespace = caller.namespace if caller else None
    return Json({"required": keyring.required, "namespace": namespace})


@router.post("/login", status_code=204, response_class=Response)
async def login(order: Login, request: Request) -> Response:
    """Set the cookie. 401 where the key is not known."""
    keyring = gateway_of(request).keyring
    response = Response(status_code=204)
    if not keyring.required:
        return response
    if keyring.caller(order.key) is None:
        raise KeyRefused("this API key is not known here", code="invalid_api_key")
    response.set_cookie(
        COOKIE,
        order.key,
        max_age=A_MONTH,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.post("/logout", status_code=204, response_class=Response)
async def logout() -> Response:
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
