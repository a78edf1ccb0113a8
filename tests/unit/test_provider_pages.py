"""Each provider has a page, which names all that it needs and takes."""

from __future__ import annotations

import pytest

from speechfleet.provider_options import BUILT_IN_PROVIDERS, ON_THE_WORKER, options_of
from speechfleet_worker.providers.built_in import BUILT_IN
from tests.support.documents import page


@pytest.mark.parametrize("name", BUILT_IN_PROVIDERS)
def test_every_provider_has_a_page_with_what_it_needs_and_takes(name: str) -> None:
    text = page(f"guides/providers/{'local' if name in ON_THE_WORKER else name}.md")
    provider = BUILT_IN[name]
    variants = [provider, *(provider.variants or {}).values()]
    assert f"[{provider.extra}]" in text
    for variant in variants:
        assert variant.base_url in text
        assert not variant.keys or any(key in text for key in variant.keys)
    for model in provider.models:
        assert f"`{name}/{model}`" in text
        missing = {
            option for option in options_of(f"{name}/{model}") or () if f"`{option}`" not in text
        }
        assert not missing, model


def test_the_overview_leads_to_every_page() -> None:
    overview = page("guides/providers.md")
    for name in {*BUILT_IN_PROVIDERS} - {*ON_THE_WORKER} | {"local"}:
        assert f"(providers/{name}.md)" in overview
