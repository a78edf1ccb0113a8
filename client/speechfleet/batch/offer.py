"""Checks models, voices and options against what the fleet offers, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from speechfleet.context import Context
from speechfleet.corpus.item import REQUEST_FIELDS, Item, as_item
from speechfleet.errors import InvalidRequest, UnknownModel, UnknownOption, UnknownVoice
from speechfleet.provider_options import BUILT_IN_PROVIDERS, options_of
from speechfleet.request import Request
from speechfleet.settings import Settings

ANY = "..."
"""Stands for the model's name where a provider takes whatever its server knows."""
LONGEST_TAG = 3
"""Maximum length of the language tag that prefixes an unlisted voice name (`de`, `cmn`)."""


@dataclass(frozen=True)
class ModelOffer:
    """A model in the fleet's catalogue.

    ``voices``: all that there are, where ``has_all_voices``; else those that are known.
    ``voice_prefixes``: how voices begin that stand in no list. ``options``: None where they are
    not known.
    """

    voices: tuple[str, ...] = ()
    voice_prefixes: tuple[str, ...] = ()
    has_all_voices: bool = False
    options: frozenset[str] | None = None

    @classmethod
    def decode(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of the catalogue; older workers leave fields out."""
        options = row.get("options")
        return cls(
            tuple(row.get("voices", ())),
            tuple(row.get("voice_prefixes", ())),
            bool(row.get("has_all_voices", False)),
            None if options is None else frozenset(options),
        )

    def check_voice(self, voice: str) -> None:
        """Raise UnknownVoice where there cannot be such a voice."""
        if not voice or not self.voices or voice in self.voices:
            return
        if self.voice_prefixes and voice.startswith(self.voice_prefixes):
            return
        tag = voice.partition("+")[0].replace("_", "-").partition("-")[0]
        if self.has_all_voices or len(tag) > LONGEST_TAG:
            raise UnknownVoice(voice, self.voices)


class FleetOffer:
    """The providers and models of a moment. Checks each combination of a request's once."""

    def __init__(
        self,
        settings: Settings,
        providers: Iterable[str] = (),
        models: Mapping[str, ModelOffer] | None = None,
    ) -> None:
        self._settings = settings
        self._providers = {
            *BUILT_IN_PROVIDERS, *settings.providers, *settings.endpoints, *providers,
        }  # fmt: skip
        self._models = models or {}
        self._checked: set[tuple[str, str, str]] = set()

    @classmethod
    async def load(cls, context: Context, items: object, order: Mapping[str, Any]) -> Self:
        """Ask the fleet, and check the items of a list: they are all there.

        Raises FleetUnavailable, InvalidRequest.
        """
        offer = await cls._ask(context)
        if isinstance(items, list | tuple):
            for number, value in enumerate(items, 1):
                offer.check_item(as_item(value, f"item {number}"), order)
        return offer

    @classmethod
    async def _ask(cls, context: Context) -> Self:
        catalogue = await context.ledger.overview.catalogue()
        workers = await context.ledger.workers.known()
        served = {
            provider
            for worker in workers
            for provider, reason in worker.providers.items()
            if not reason
        }
        models = {
            row["model"]: ModelOffer.decode(row)
            for provider, rows in catalogue.items()
            if provider in served
            for row in rows
        }
        named = (provider for worker in workers for provider in worker.providers)
        return cls(context.settings, {*catalogue, *named}, models)

    def check(self, request: Request) -> None:
        """Raise UnknownModel, UnknownVoice, UnknownOption with near matches."""
        key = (request.model, request.voice, request.options_json)
        if key not in self._checked:
            self._check(request)
            self._checked.add(key)

    def request(self, item: Item, batch: str, order: Mapping[str, Any]) -> Request:
        """Return the checked request of an item. Raises InvalidRequest with its place."""
        try:
            request = item.request(batch, order, self._settings.max_text)
            self.check(request)
        except InvalidRequest as error:
            raise InvalidRequest(f"{item.place}: {error.message}", code=error.code) from error
        return request

    def check_item(self, item: Item, order: Mapping[str, Any]) -> None:
        """Check what an item asks for beside its text. Raises InvalidRequest with its place."""
        fields = {**order, **item.fields}
        asked = {name: fields.pop(name, "") for name in REQUEST_FIELDS}
        try:
            self.check(Request("", str(asked["model"]), str(asked["voice"]), fields))
        except InvalidRequest as error:
            raise InvalidRequest(f"{item.place}: {error.message}", code=error.code) from error

    def _check(self, request: Request) -> None:
        if request.provider not in self._providers:
            name = request.model.partition("/")[2]
            matches = (f"{provider}/{name}" for provider in sorted(self._providers))
            raise UnknownModel(request.model, matches)
        model = self._models.get(request.model) or self._models.get(f"{request.provider}/{ANY}")
        known = model.options if model is not None else None
        if known is None:
            known = options_of(request.model, self._settings)
        unknown = set() if known is None else set(request.options) - known
        if known is not None and unknown:
            raise UnknownOption(min(unknown), known)
        if model is not None:
            model.check_voice(request.voice)
