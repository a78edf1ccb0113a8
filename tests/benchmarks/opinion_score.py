"""Predict how people would rate the voices of this machine, from 1 to 5.

    .venv/bin/python -m pip install distillmos torchaudio      (some 200 MB with torch)
    .venv/bin/python -m tests.benchmarks.opinion_score

DistillMOS (https://github.com/microsoft/Distill-MOS) predicts the mean opinion score of a speech.
It is no dependency of the project, and this is no benchmark with a floor: run it by hand.
"""

from __future__ import annotations

import asyncio
import importlib
from statistics import fmean
from typing import Any

from speechfleet.demo.corpus import articles
from speechfleet.tts import Msg
from speechfleet_worker.providers.base import ProviderModel
from speechfleet_worker.providers.espeak.model import EspeakTTSModel
from speechfleet_worker.providers.hibari.model import HibariTTSModel

RATE = 16_000
TEXTS = [article.text for article in articles() if article.language == "en"][1:11]
"""Ten articles of the Universal Declaration of Human Rights."""


async def scores(model: ProviderModel) -> list[float]:
    """Return the score of each text."""
    torch: Any = importlib.import_module("torch")
    resample: Any = importlib.import_module("torchaudio.functional").resample
    distillmos: Any = importlib.import_module("distillmos")
    judge = distillmos.ConvTransformerSQAModel()
    judge.eval()
    found = []
    for text in TEXTS:
        response: Any = await model.synthesize(Msg("", text))
        pcm = torch.frombuffer(bytearray(response.audio_from(0)), dtype=torch.int16)
        audio = resample(pcm.float() / 32_768, model.capabilities.sample_rate, RATE)
        with torch.no_grad():
            found.append(float(judge(audio[None, :])))
    return found


if __name__ == "__main__":
    for name, model in (
        ("hibari/heart", HibariTTSModel(stream=False)),
        ("espeak/espeak-ng", EspeakTTSModel(stream=False)),
    ):
        found = asyncio.run(scores(model))
        print(f"{name:18} {fmean(found):.2f}  ({min(found):.2f} to {max(found):.2f})", flush=True)
