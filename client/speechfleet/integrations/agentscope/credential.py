"""The fleet in AgentScope's service: one more provider of speech."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Literal

from agentscope.credential import CredentialFactory

from speechfleet.integrations.agentscope.fleet_address import FleetAddress
from speechfleet.integrations.agentscope.version2 import FleetTTSModel

if TYPE_CHECKING:
    from agentscope.model import ChatModelBase
    from agentscope.tts import TTSModelBase


class FleetCredential(FleetAddress):
    """Offer a fleet's models in AgentScope's service.

    Call `FleetCredential.register` before the service starts.
    """

    type: Literal["speechfleet"] = "speechfleet"

    @classmethod
    def register(cls) -> None:
        """Make AgentScope's service know this type of credential. Idempotent."""
        CredentialFactory.register_credential(cls)

    @classmethod
    def get_tts_model_classes(cls) -> list[builtins.type[TTSModelBase]]:
        """Return the class of the fleet's speech models."""
        return [FleetTTSModel]

    @classmethod
    def get_chat_model_classes(cls) -> list[builtins.type[ChatModelBase]]:
        """Return none: a fleet does not chat."""
        return []
