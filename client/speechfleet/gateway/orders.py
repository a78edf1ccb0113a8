"""What an order for speech over HTTP turns into, whichever route it came by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from speechfleet.client import Order
from speechfleet.errors import TextTooLong, UnknownOption
from speechfleet.settings import Settings
from speechfleet.tts import Msg

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
Role = Literal["user", "assistant", "system"]
_TAKEN = {*Order.__annotations__, "self", "msg"}


def message(text: str, id: str | None, *, name: str = "", role: Role = "assistant") -> Msg:
    """Under a new id where none is given."""
    return Msg(name, text, role) if id is None else Msg(name, text, role, id=id)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The provider's own options. Raises UnknownOption for names that mean something else."""
    for name in options:
        if name in _TAKEN:
            raise UnknownOption(name, hint="(it is not the provider's)")
    return dict(options)


def resolve(model: str, aliases: Mapping[str, str]) -> str:
    """A bare name is an alias, else OpenAI's."""
    return aliases.get(model) or (model if "/" in model else f"openai/{model}")


def check_text(text: str, settings: Settings) -> None:
    """Raises TextTooLong."""
    if len(text) > settings.gateway_text:
        raise TextTooLong(
            f"the text has {len(text):,} characters, this gateway takes "
            f"{settings.gateway_text:,} (SPEECHFLEET_GATEWAY_TEXT)"
        )
