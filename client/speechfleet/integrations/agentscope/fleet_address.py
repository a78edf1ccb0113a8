"""The address of a fleet, as AgentScope's service keeps it."""

from __future__ import annotations

from agentscope.credential import CredentialBase
from pydantic import Field, SecretStr


class FleetAddress(CredentialBase):
    """Name a fleet; what is left out comes from the environment."""

    redis_url: SecretStr | None = Field(None, description="of the fleet's Redis or Valkey")
    store: str | None = Field(None, description="of the fleet's object store")
    namespace: str | None = Field(None, description="of the jobs")

    @property
    def overrides(self) -> dict[str, str | None]:
        """The settings that replace those of the environment."""
        url = self.redis_url.get_secret_value() if self.redis_url else None
        return {"redis_url": url, "store": self.store, "namespace": self.namespace}
