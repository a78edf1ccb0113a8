"""Make each provider's first call before a job does, to an address where nobody is.

SDKs import much of themselves at their first call, which takes a quarter of a second and more. On
the loop of a worker it would hold up every other job.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator

from speechfleet.errors import SpeechFleetError
from speechfleet.provider_options import adapter_of
from speechfleet.settings import Settings, Timeouts
from speechfleet.tts import Msg
from speechfleet_worker.providers import registry
from speechfleet_worker.providers.base import ProviderModel
from speechfleet_worker.providers.built_in import BUILT_IN, importable

NOBODY = "127.0.0.1:0"
"""No server can listen there, so that a connection is refused at once."""
NO_KEY = "none"
TIMEOUTS = Timeouts(connect=1.0, first_audio=1.0, silence=1.0, call=1.0)
"""Of a proxy that should not have been asked, and answers nothing."""


def rehearse(names: Iterable[str], settings: Settings) -> None:
    """Call the adapters of these providers once, as far as they call a server. Never raises."""
    adapters = {adapter_of(f"{name}/any", settings) for name in names}
    # The built-in adapters alone: an endpoint of the settings is somebody's server.
    settings = settings.model_copy(update={"timeouts": TIMEOUTS, "endpoints": {}, "providers": {}})
    for model in _models(adapters):
        asyncio.run(_call(model, settings))


def _models(adapters: set[str | None]) -> Iterator[str]:
    """Yield one model for each class of these adapters that calls a server."""
    seen = set()
    for name, built_in in BUILT_IN.items():
        for model_name in built_in.models:
            variant = built_in.of(model_name)
            if name in adapters and variant.base_url and variant.target not in seen:
                seen.add(variant.target)
                if importable(variant.sdk):
                    yield f"{name}/{model_name}"


async def _call(model: str, settings: Settings) -> None:
    provider, name = registry.split(model)
    built_in = BUILT_IN[provider].of(name)
    # No key of anybody's: a proxy of the environment may see it.
    environ = dict.fromkeys(built_in.keys, NO_KEY) | {built_in.base_url: f"http://{NOBODY}"}
    with contextlib.suppress(SpeechFleetError):
        built = registry.build(model, settings=settings, environ=environ)
        assert isinstance(built, ProviderModel)
        async with built if built.supports_streaming_input else contextlib.nullcontext():
            answer = await built.synthesize(Msg("", "Hello.", id="rehearsal"))
            assert isinstance(answer, AsyncGenerator)  # models are built to stream
            await anext(answer)
