"""speechfleet: a distributed speech-synthesis queue. See the README for the tour."""

from speechfleet.chunks import Chunk
from speechfleet.client import AsyncClient
from speechfleet.errors import SpeechFleetError
from speechfleet.jobs import Lane, Request, State
from speechfleet.settings import Settings
from speechfleet.sync import Client
from speechfleet.tts import AudioBlock, Msg, TTSModelBase, TTSResponse, TTSUsage

__all__ = [
    "AsyncClient",
    "AudioBlock",
    "Chunk",
    "Client",
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
