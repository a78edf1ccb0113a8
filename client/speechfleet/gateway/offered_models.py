"""The models that live workers offer, as the workers describe them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from speechfleet.client import AsyncClient
from speechfleet.errors import UnknownModel
from speechfleet.provider_options import options_of

ANY = "..."
"""Stands for a model's name where a provider takes whatever its server knows."""
CACHE_S = 2.0
"""Seconds for which the description of the models is taken as fresh."""


@dataclass(frozen=True)
class ModelInfo:
    """Describes a model. ``voices``: none where it takes any; ``options``: None if unknown."""

    name: str
    default_voice: str = ""
    voices: tuple[str, ...] = ()
    options: frozenset[str] | None = None

    @classmethod
    def decode(cls, row: dict[str, Any]) -> ModelInfo:
        """Read a row of the fleet's catalogue; older workers leave the options out."""
        options = row.get("options")
        return cls(
            name=row["model"],
            default_voice=row["default_voice"],
            voices=tuple(sorted(row["voices"])),
            options=None if options is None else frozenset(options),
        )

    @property
    def provider(self) -> str:
        return self.name.partition("/")[0]

    @property
    def is_any(self) -> bool:
        """Tell whether this stands for all models of a provider that lists none."""
        return self.name == f"{self.provider}/{ANY}"

    def has_voice(self, voice: str) -> bool:
        """Tell whether the model has a voice, or takes any."""
        base = voice.partition("+")[0]  # "en-us+f3" is a variant of "en-us"
        return not self.voices or voice in self.voices or base in self.voices


class OfferedModels:
    """The models of the providers that a live worker serves."""

    def __init__(self, models: Iterable[ModelInfo]) -> None:
        self._by_name = {model.name: model for model in models}

    @property
    def listed(self) -> list[ModelInfo]:
        """The models that can be asked for by their name."""
        return [model for model in self._by_name.values() if not model.is_any]

    @property
    def open_providers(self) -> list[str]:
        """The providers that take models which are not listed."""
        return [model.provider for model in self._by_name.values() if model.is_any]

    def find(self, name: str) -> ModelInfo | None:
        """Return a model, or what is known of its provider's models; None where nothing is."""
        if model := self._by_name.get(name):
            return model
        any_model = self._by_name.get(f"{name.partition('/')[0]}/{ANY}")
        if any_model is None:
            return None
        return ModelInfo(name, any_model.default_voice, any_model.voices, any_model.options)

    def describe(self, name: str) -> ModelInfo:
        """Return what is known of a model, also where no worker serves it."""
        options = options_of(name)
        return self.find(name) or ModelInfo(name, options=options)

    def get(self, name: str) -> ModelInfo:
        """Return a model. Raises UnknownModel with near matches."""
        if model := self.find(name):
            return model
        raise UnknownModel(name, [model.name for model in self.listed])


class ModelCache:
    """Look the offered models up, at most once in a while."""

    def __init__(self) -> None:
        self._at = float("-inf")
        self._models = OfferedModels(())

    async def get(self, client: AsyncClient) -> OfferedModels:
        """Return the models of this moment. Raises FleetUnavailable."""
        if time.monotonic() - self._at > CACHE_S:
            self._models = await _load(client)
            self._at = time.monotonic()
        return self._models


async def _load(client: AsyncClient) -> OfferedModels:
    catalogue = await client.ledger.overview.catalogue()
    served = {
        provider
        for worker in await client.workers()
        for provider, reason in worker.providers.items()
        if not reason
    }
    rows = [row for provider in sorted(served & set(catalogue)) for row in catalogue[provider]]
    return OfferedModels(map(ModelInfo.decode, rows))
