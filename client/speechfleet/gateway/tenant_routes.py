"""``/quota``: what a namespace may use, and what is taken of it."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel

from speechfleet.gateway.context import CurrentContext
from speechfleet.gateway.error_responses import Json

router = APIRouter(tags=["fleet"])


class LimitView(BaseModel):
    """A limit and what is taken of it; `resets`: when its sums begin anew."""

    limit: str
    value: float
    used: float
    reserved: float
    resets: datetime | None


class QuotaView(BaseModel):
    """The limits of the key's namespace; none: it may use what it likes."""

    namespace: str
    limits: list[LimitView]


@router.get("/quota", response_model=QuotaView)
async def quota(context: CurrentContext) -> Response:
    """Show the limits of the key's namespace, and what is used and reserved of them."""
    client = context.client
    status = await client.quota()
    limits = status.rows() if status else []
    return Json({"namespace": client.namespace, "limits": limits})
