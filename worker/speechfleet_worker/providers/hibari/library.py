"""The hibari library: a small neural voice for English, without any network.

Threads give it no speed, and each instance takes some 150 MB: so a process has one, in the one
thread of `run`. The library is loaded there on first use, which takes half a second.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from speechfleet.errors import MisconfiguredError, MissingExtra
from speechfleet.library_thread import LibraryThread
from speechfleet_worker.providers.base import SpokenWord
from speechfleet_worker.providers.hibari.graph import with_output
from speechfleet_worker.providers.hibari.phonemes import Clause, clauses, sound_of

if TYPE_CHECKING:
    import numpy as np
    from hibari.g2p import G2P
    from onnxruntime import InferenceSession

PACKAGE = "hibari-tts"
MODULE = "hibari"
RELEASE = "0.2.1"
"""The release that the extra installs."""
SAMPLE_RATE = 24_000
VOICE = "heart"
"""The voice that the package contains."""
DOWNLOADED = ("emma", "fable", "fenrir", "kore")
"""Voices that the library would download at their first use; here they need a file."""
SEED = 0
"""Of the noise in breath and sibilants: the same text is the same audio, to the bit."""
_LENGTHS = "/CumSum_output_0"
"""The tensor that holds the end of each phoneme, in frames."""
_FULL_SCALE = 32_767


@dataclass(frozen=True)
class Utterance:
    """Audio of one sentence: s16le mono at `SAMPLE_RATE`; ``words`` count from its start."""

    pcm: bytes
    words: tuple[SpokenWord, ...]


def is_installed() -> bool:
    """Tell whether the library is there; cheap, loads nothing."""
    return all(importlib.util.find_spec(name) is not None for name in (MODULE, "onnxruntime"))


def require() -> None:
    """Raise MissingExtra where the library is not installed; cheap, loads nothing."""
    if not is_installed():
        raise MissingExtra("hibari", "local")


@cache
def engine(voice: str, model: str = "") -> HibariEngine:
    """Return the process's engine for a voice. Only inside `run`."""
    return HibariEngine(voice, model)


@cache
def _pronunciation(*, british: bool) -> G2P:
    """Load the dictionary, which voices of one accent share."""
    from hibari.g2p import G2P

    return G2P(british=british)


def _forget() -> None:
    engine.cache_clear()
    _pronunciation.cache_clear()


_thread = LibraryThread("hibari", _forget)
run = _thread.run


class HibariEngine:
    """Speaks by a loaded voice. Every method must be called in the library's thread."""

    def __init__(self, voice: str, model: str = "") -> None:
        """Load a voice: of the package, or the ONNX file ``model``. Raises MisconfiguredError."""
        require()
        from hibari.tts import ASSETS
        from hibari.voices import VOICES, voice_path

        path = Path(model or voice_path(VOICE, download_missing=False))
        self._session, self._has_lengths = _load(path)
        self._vocabulary: dict[str, int] = json.loads(
            Path(ASSETS, "vocab.json").read_text(encoding="utf-8")
        )
        self._pronounce = _pronunciation(british=bool(VOICES.get(voice, {}).get("british")))

    def speak(self, sentence: str, speed: float) -> Utterance:
        """Return the audio of one sentence; none where it holds nothing that can be said."""
        from hibari.g2p.normalize import normalize

        parts: list[bytes] = []
        words: list[SpokenWord] = []
        heard = 0
        tokens = self._pronounce.phonemize_tokens(self._pronounce.tokenize(normalize(sentence)))
        for clause in clauses(sentence, tokens):
            audio, ends = self._render(clause.phonemes, speed)
            words += _timed(sentence, clause, ends, heard / SAMPLE_RATE)
            parts.append(_pcm(audio))
            heard += len(audio)
        return Utterance(b"".join(parts), tuple(words))

    def _render(self, phonemes: str, speed: float) -> tuple[np.ndarray, list[float]]:
        """Return the audio, and the second at which each phoneme ends (none: not known)."""
        import numpy as np
        from hibari import dsp

        known = [self._vocabulary.get(phoneme) for phoneme in phonemes]
        ids = [0, *(id for id in known if id is not None), 0]
        if len(ids) < 3:
            return np.zeros(0, np.float32), []
        inputs = {"ids": np.asarray([ids], np.int64), "speed": np.asarray([speed], np.float32)}
        spectrum = self._session.run(None, inputs)
        noise = np.random.default_rng(SEED)
        audio = dsp.synth(*(part[0] for part in spectrum[:6]), noise)
        if not self._has_lengths:
            return audio, []
        frames = iter(spectrum[6].ravel().tolist())
        second = len(audio) / SAMPLE_RATE / float(spectrum[6].ravel()[-1])
        ends = [next(frames) * second]
        for id in known:  # a character that the voice does not know takes no time
            ends.append(ends[-1] if id is None else next(frames) * second)
        return audio, ends


def _load(path: Path) -> tuple[InferenceSession, bool]:
    """Load a model, and tell whether it says how long its phonemes are."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = False  # it would keep what the longest sentence took
    settings.log_severity_level = 3
    try:
        model = path.read_bytes()
        has_lengths = _LENGTHS.encode() in model
        session = onnxruntime.InferenceSession(
            with_output(model, _LENGTHS) if has_lengths else model,
            settings,
            providers=["CPUExecutionProvider"],
        )
    except OSError as error:
        raise MisconfiguredError(
            f"hibari cannot read its voice {path}: {error.strerror}; see SPEECHFLEET_HIBARI_VOICES"
        ) from error
    except Exception as error:  # onnxruntime's own errors share no base of theirs
        raise MisconfiguredError(
            f"{path} is no model that hibari can load ({type(error).__name__}); "
            "see SPEECHFLEET_HIBARI_VOICES"
        ) from error
    return session, has_lengths


def _timed(
    sentence: str, clause: Clause, ends: list[float], offset: float
) -> Iterator[SpokenWord]:
    """Give the words of a clause their times; ``ends`` begins with the pause before it."""
    if not ends:
        return
    for text, word in clause.words:
        sound = sound_of(clause.phonemes, word)
        start, end = text
        while start < end and not sentence[start].isalnum():
            start += 1
        while end > start and not sentence[end - 1].isalnum():
            end -= 1
        if sound is not None and start < end:
            yield SpokenWord(start, end, offset + ends[sound.start], offset + ends[sound.end])


def _pcm(audio: np.ndarray) -> bytes:
    import numpy as np

    samples: np.ndarray = (np.clip(audio, -1.0, 1.0) * _FULL_SCALE).astype("<i2")
    return samples.tobytes()
