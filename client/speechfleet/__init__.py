"""speechfleet: a distributed speech-synthesis queue. See the README for the tour."""

from speechfleet.chunks import Chunk
from speechfleet.errors import SpeechFleetError
from speechfleet.jobs import Lane, Request, State
from speechfleet.settings import Settings
from speechfleet.tts import AudioBlock, Msg, TTSModelBase, TTSResponse, TTSUsage

__all__ = [
    "AudioBlock",
    "Chunk",
    "Lane",
    "Msg",
    "Request",
    "Settings",
    "SpeechFleetError",
    "State",
    "TTSModelBase",
    "TTSResponse",
    "TTSUsage",
]
