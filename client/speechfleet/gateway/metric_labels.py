"""Labels of models in ``/metrics``: few, and never a text that a tenant made up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from speechfleet.gateway.offered_models import ModelInfo
from speechfleet.observability.metrics import ENDED, Sample

OTHER = "other"
MODELS_PER_PROVIDER = 50
"""Models of a provider without a list that get a label of their own."""
_PLAIN = re.compile(r"[A-Za-z0-9._:/-]{1,64}").fullmatch
_SUCCEEDED = "SUCCEEDED"


class ModelLabels:
    """Label models by name where the fleet lists them, else as ``provider/other``.

    A provider without a list takes any name. There the names that were spoken most often are
    shown, as long as they look like names.
    """

    def __init__(self, models: Iterable[ModelInfo], counted: Sequence[Sample]) -> None:
        known = list(models)
        self._providers = {model.provider for model in known}
        self._names = {model.name for model in known if not model.is_any}
        open_providers = {model.provider for model in known if model.is_any}
        spoken: dict[str, Counter[str]] = {provider: Counter() for provider in open_providers}
        for sample in counted:
            if sample.metric is ENDED and sample.labels[2] == _SUCCEEDED:
                model = sample.labels[0]
                provider = _provider(model)
                if provider in spoken and _PLAIN(model):
                    spoken[provider][model] += int(sample.value)
        for models_of_provider in spoken.values():
            most = models_of_provider.most_common(MODELS_PER_PROVIDER)
            self._names |= {model for model, _ in most}

    def label(self, model: str) -> str:
        """Return the label of a model."""
        if model in self._names:
            return model
        provider = _provider(model)
        return f"{provider}/{OTHER}" if provider in self._providers else OTHER


def _provider(model: str) -> str:
    return model.partition("/")[0]
