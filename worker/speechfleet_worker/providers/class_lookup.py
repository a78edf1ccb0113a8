"""Find the class of a provider by its import path."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from speechfleet.errors import MisconfiguredError
from speechfleet.tts import TTSModelBase


@cache
def class_at(target: str, provider: str) -> type[TTSModelBase]:
    """Import the class at ``module:name``, once. Raises MisconfiguredError naming the provider."""
    module, _, name = target.partition(":")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise MisconfiguredError(f"provider {provider!r}: {target}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, TTSModelBase)):
        raise MisconfiguredError(
            f"provider {provider!r}: {target} is no subclass of speechfleet.TTSModelBase"
        )
    return kind
