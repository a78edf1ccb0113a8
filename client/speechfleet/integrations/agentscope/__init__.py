"""AgentScope: agents that speak through the fleet.

`FleetTTSModel` is the class that fits the installed AgentScope: 2.0.2 and later, or 1.x.
`FleetTTSMiddleware` and `FleetCredential` need version 2.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from speechfleet.errors import MisconfiguredError, MissingExtra

OF_VERSION_2 = ("FleetTTSMiddleware", "FleetCredential")


def _is_version_2() -> bool:
    """Tell version 2 from 1. Raises MissingExtra, MisconfiguredError."""
    try:
        from agentscope.tts import TTSModelBase  # noqa: PLC0415
    except ImportError:
        try:
            installed = version("agentscope")
        except PackageNotFoundError:
            raise MissingExtra("FleetTTSModel", "agentscope") from None
        raise MisconfiguredError(
            f"AgentScope {installed} cannot speak: install agentscope>=2.0.2 (the extra "
            "'agentscope'), or agentscope>=1.0.21,<2 (the extra 'agentscope1')"
        ) from None
    return hasattr(TTSModelBase, "realtime")


if TYPE_CHECKING or _is_version_2():
    from speechfleet.integrations.agentscope.credential import FleetCredential
    from speechfleet.integrations.agentscope.middleware import FleetTTSMiddleware
    from speechfleet.integrations.agentscope.version2 import FleetTTSModel

    __all__ = ["FleetCredential", "FleetTTSMiddleware", "FleetTTSModel"]
else:
    from speechfleet.integrations.agentscope.version1 import FleetTTSModel

    __all__ = ["FleetTTSModel"]

    def __getattr__(name: str) -> object:
        if name in OF_VERSION_2:
            raise MisconfiguredError(
                f"{name} needs AgentScope 2, and this is {version('agentscope')}: its agents take "
                "FleetTTSModel as their tts_model"
            )
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
