"""Every operation of the OpenAPI document, asked with whatever schemathesis thinks of."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.result import Ok

from speechfleet.embedded import EmbeddedFleet
from tests.support.gateways import ESPEAK, code_of, gateway

EXAMPLES = 15
"""Of each operation."""


@pytest.fixture(scope="module")
def url(module_folder: Path) -> Iterator[str]:
    fleet = EmbeddedFleet(module_folder / "data", grace=2.0)
    with fleet, gateway(fleet, module_folder) as running:
        yield running


@pytest.fixture(scope="module")
def document(url: str) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{url}/openapi.json", timeout=60).json()
    return told


def test_the_document_names_every_route(document: dict[str, Any]) -> None:
    assert {"/v1/audio/speech", "/jobs", "/jobs/{id}/events", "/metrics"} <= set(document["paths"])


def test_nothing_that_is_sent_makes_the_gateway_fail(url: str, document: dict[str, Any]) -> None:
    """What is well-formed and what is not; models are those that answer at once."""
    for shape in ("SpeechOrder", "JobOrder"):
        document["components"]["schemas"][shape]["properties"]["model"] = {
            "enum": [ESPEAK, "unheard/of", "", "/"]
        }
    schema = schemathesis.openapi.from_dict(document)
    tried = 0
    with httpx.Client(base_url=url, timeout=60) as client:
        operations = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
        for operation, mode in product(operations, schemathesis.GenerationMode):
            tried += ask(client, operation, mode)
    assert tried > 10 * EXAMPLES


def ask(client: httpx.Client, operation: Any, mode: schemathesis.GenerationMode) -> int:
    """How many requests were answered, each without a 500 and errors in their form."""
    answered = 0

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def one(case: Any) -> None:
        nonlocal answered
        answer = case.call(base_url=str(client.base_url))
        answered += 1
        # That nobody serves a model is no fault of the gateway.
        is_fine = answer.status_code < 500 or "no_worker" in answer.text
        assert is_fine, f"{case.as_curl_command()}: {answer.text[:500]}"
        if answer.status_code >= 400:
            assert code_of(httpx.Response(answer.status_code, content=answer.content)) != ""

    try:
        one()
    except Unsatisfiable:
        assert mode.is_negative, "an operation without parameters cannot be asked wrongly"
    return answered
