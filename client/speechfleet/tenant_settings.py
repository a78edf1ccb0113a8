"""The settings about tenants: a part of `Settings`, which alone reads the environment."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

from speechfleet.gateway_settings import split_list
from speechfleet.quotas import Quota
from speechfleet.strict_model import StrictModel
from speechfleet.webhook_settings import WebhookSetting


class TenantSettings(StrictModel, BaseSettings):
    """The settings about namespaces, as a part of `Settings`."""

    quotas: dict[str, Quota] | None = Field(
        None,
        description="JSON: namespace, or * for each other one -> characters_day, money_day, ...; "
        "of workers",
    )
    webhooks: dict[str, list[WebhookSetting]] | None = Field(
        None, description="JSON: namespace -> list of url, secret, events; of workers"
    )
    webhook_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="networks that webhooks may reach although they are not public: 10.0.0.0/8",
    )

    @field_validator("webhook_networks", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        networks = split_list(value)
        for network in networks:
            ip_network(network, strict=False)
        return networks
