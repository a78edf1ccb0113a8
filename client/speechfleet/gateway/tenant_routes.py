"""``/quota``, ``/webhooks``: the limits of a namespace, and its receivers of events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from speechfleet.gateway.context import CurrentContext
from speechfleet.gateway.error_responses import Json
from speechfleet.ledger.webhooks import WebhookStatus

router = APIRouter(tags=["fleet"])


class WebhookView(BaseModel):
    """A receiver of events. Its URL is shown without a query, which may hold a secret."""

    id: str
    url: str
    events: list[str]
    disabled: str = Field(description="why it gets no events any more; empty: it does")
    waiting: int = Field(description="jobs and batches whose events wait")
    oldest: float = Field(description="seconds that the first of them has waited")
    sent: int
    failed: int = Field(description="tries that failed")
    dead: int = Field(description="dead letters that can be replayed")


class WebhookList(BaseModel):
    webhooks: list[WebhookView]


class LimitView(BaseModel):
    """A limit and what is taken of it; `resets`: when its sums begin anew."""

    limit: str
    value: float
    used: float
    reserved: float
    refused: int = Field(description="submits, retries and pushes that it refused")
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


@router.get("/webhooks", response_model=WebhookList)
async def webhooks(context: CurrentContext) -> Response:
    """Show the receivers of the key's namespace, and how their events fare."""
    client = context.client
    found = await client.ledger.webhooks.statuses(client.namespace)
    return Json({"webhooks": [_webhook_view(status) for status in found]})


def _webhook_view(status: WebhookStatus) -> dict[str, Any]:
    hook = status.hook
    about = {"id": hook.id, "url": hook.url.partition("?")[0], "events": list(hook.events)}
    names = ("waiting", "oldest", "sent", "failed", "dead")
    return {**about, "disabled": hook.disabled, **{name: getattr(status, name) for name in names}}
