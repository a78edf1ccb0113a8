"""``/login``: a browser gets a login, in a cookie that no script can read."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field

from speechfleet.gateway.context import gateway_of
from speechfleet.gateway.error_responses import Json
from speechfleet.gateway.key_check import COOKIE, LOGIN_LIFETIME_S, login_token
from speechfleet.strict_model import StrictModel

router = APIRouter(tags=["console"])


class LoginOrder(StrictModel):
    """An API key, to be exchanged for a login."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(max_length=256)


@router.get("/login")
async def who(request: Request) -> Response:
    """Tell whether a key is needed, and the namespace of the request's key or login."""
    gateway = gateway_of(request)
    caller = await gateway.access.find(request.headers)
    namespace = caller.namespace if caller else None
    return Json({"required": gateway.access.keyring.required, "namespace": namespace})


@router.post("/login", status_code=204, response_class=Response)
async def login(order: LoginOrder, request: Request) -> Response:
    """Begin a login and set its cookie. 401 where the key is not known."""
    gateway = gateway_of(request)
    response = Response(status_code=204)
    if not gateway.access.keyring.required:
        return response
    response.set_cookie(
        COOKIE,
        await gateway.access.log_in(order.key),
        max_age=LOGIN_LIFETIME_S,
        httponly=True,
        samesite="strict",
        secure=_is_encrypted(request),
    )
    return response


@router.post("/logout", status_code=204, response_class=Response)
async def logout(request: Request) -> Response:
    """End the login of the cookie: it opens nothing any more, wherever it was copied to."""
    gateway = gateway_of(request)
    response = Response(status_code=204)
    if token := login_token(request.headers):
        await gateway.access.log_out(token)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _is_encrypted(request: Request) -> bool:
    """Tell whether the browser speaks HTTPS, to this process or to a proxy before it.

    A client that forges the header makes its own cookie useless, nothing else.
    """
    forwarded = request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return "https" in (request.url.scheme, forwarded)
