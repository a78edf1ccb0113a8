"""Labels of models: from the fleet's lists, never what a tenant made up."""

from __future__ import annotations

import pytest

from speechfleet.gateway.metric_labels import MODELS_PER_PROVIDER, ModelLabels
from speechfleet.gateway.offered_models import ModelInfo
from speechfleet.observability.metrics import ENDED, FIRST_AUDIO, Tally, relabelled, samples

MEMO = "espeak/Project Zebra, for john.doe@example.com"


def labels(*spoken: str) -> ModelLabels:
    tally = Tally()
    for model in spoken:
        tally.add(ENDED, model, "live", "SUCCEEDED")
    tally.add(ENDED, "kokoro/failed", "live", "FAILED")
    models = [ModelInfo("espeak/espeak-ng"), ModelInfo("kokoro/kokoro"), ModelInfo("kokoro/...")]
    return ModelLabels(models, samples(tally.take()))


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("espeak/espeak-ng", "espeak/espeak-ng"),
        (MEMO, "espeak/other"),
        ("nobody/knows", "other"),
        ("kokoro/kokoro", "kokoro/kokoro"),
        ("kokoro/spoken", "kokoro/spoken"),
        ("kokoro/failed", "kokoro/other"),
        ("kokoro/john.doe@example.com", "kokoro/other"),
        ("kokoro/" + "x" * 100, "kokoro/other"),
    ],
    ids=lambda text: text[:25].replace("@", " at "),
)
def test_only_known_names_are_labels(model: str, label: str) -> None:
    known = labels("kokoro/spoken", "kokoro/john.doe@example.com", "kokoro/" + "x" * 100)
    assert known.label(model) == label


def test_names_of_an_open_provider_have_a_limit() -> None:
    names = [f"kokoro/model-{number}" for number in range(3 * MODELS_PER_PROVIDER)]
    known = labels(*names)
    shown = {known.label(name) for name in names}
    assert len(shown) == MODELS_PER_PROVIDER + 1


def test_samples_with_one_label_are_added_up() -> None:
    tally = Tally()
    for model in ("a/one", "a/two"):
        tally.add(ENDED, model, "live", "FAILED", by=2)
        tally.observe(FIRST_AUDIO, model, "live", seconds=0.02)
    found = relabelled(samples(tally.take()), "model", lambda _: "a/other")
    by_metric = {sample.metric: sample for sample in found}
    assert by_metric[ENDED].labels == ("a/other", "live", "FAILED")
    assert by_metric[ENDED].value == 4
    assert by_metric[FIRST_AUDIO].cumulative[-1] == 2
    assert by_metric[FIRST_AUDIO].value == pytest.approx(0.04)
