"""speechfleet: turn text into speech with any provider, on one machine or a hundred workers.

The names that programs need are here; the documentation begins with the README.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechfleet.batch.batch import AsyncBatch
    from speechfleet.chunks import Chunk
    from speechfleet.client import AsyncClient
    from speechfleet.corpus.corpus_file import CorpusFile
    from speechfleet.dialogue import DialoguePart
    from speechfleet.errors import (
        AuthenticationFailed,
        BatchNotFound,
        BatchStopped,
        Conflict,
        EmptyText,
        FirstAudioTimeout,
        FleetFull,
        FleetUnavailable,
        FolderInUse,
        IllegalId,
        IllegalText,
        IllegalTransition,
        IncompleteAudio,
        InvalidRequest,
        JobCancelled,
        JobFailed,
        JobNotFound,
        MisconfiguredError,
        MissingCodec,
        MissingExtra,
        NewerRecord,
        NoCapacity,
        ObjectExists,
        ObjectMissing,
        ProviderError,
        ProviderTimeout,
        ProviderUnavailable,
        QuotaExceeded,
        RateLimited,
        RequestRejected,
        ResultTimeout,
        SpeechFleetError,
        StoreDenied,
        StoreError,
        StoreUnavailable,
        StreamFull,
        TextComplete,
        TextDiverged,
        TextTooLong,
        UnknownFormat,
        UnknownModel,
        UnknownOption,
        UnknownVoice,
    )
    from speechfleet.job import AsyncJob, AsyncSpeech, JobPage, Status
    from speechfleet.lifecycle import State
    from speechfleet.loop_client import shared_client
    from speechfleet.quotas import NamespaceQuotaExceeded, QuotaStatus
    from speechfleet.request import Lane, Request
    from speechfleet.session import AsyncSession
    from speechfleet.settings import Settings
    from speechfleet.sync import Batch, Client, Job, Session, Speech
    from speechfleet.takes import TakeView
    from speechfleet.tts import AudioBlock, Msg, TTSModelBase, TTSResponse, TTSUsage
    from speechfleet.words import Mark, Word, WordSource

    __version__: str

__all__ = [
    "AsyncBatch",
    "AsyncClient",
    "AsyncJob",
    "AsyncSession",
    "AsyncSpeech",
    "AudioBlock",
    "AuthenticationFailed",
    "Batch",
    "BatchNotFound",
    "BatchStopped",
    "Chunk",
    "Client",
    "Conflict",
    "CorpusFile",
    "DialoguePart",
    "EmptyText",
    "FirstAudioTimeout",
    "FleetFull",
    "FleetUnavailable",
    "FolderInUse",
    "IllegalId",
    "IllegalText",
    "IllegalTransition",
    "IncompleteAudio",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobNotFound",
    "JobPage",
    "Lane",
    "Mark",
    "MisconfiguredError",
    "MissingCodec",
    "MissingExtra",
    "Msg",
    "NamespaceQuotaExceeded",
    "NewerRecord",
    "NoCapacity",
    "ObjectExists",
    "ObjectMissing",
    "ProviderError",
    "ProviderTimeout",
    "ProviderUnavailable",
    "QuotaExceeded",
    "QuotaStatus",
    "RateLimited",
    "Request",
    "RequestRejected",
    "ResultTimeout",
    "Session",
    "Settings",
    "Speech",
    "SpeechFleetError",
    "State",
    "Status",
    "StoreDenied",
    "StoreError",
    "StoreUnavailable",
    "StreamFull",
    "TTSModelBase",
    "TTSResponse",
    "TTSUsage",
    "TakeView",
    "TextComplete",
    "TextDiverged",
    "TextTooLong",
    "UnknownFormat",
    "UnknownModel",
    "UnknownOption",
    "UnknownVoice",
    "Word",
    "WordSource",
    "__version__",
    "shared_client",
]

_HOMES = {
    "speechfleet.batch.batch": ("AsyncBatch",),
    "speechfleet.chunks": ("Chunk",),
    "speechfleet.client": ("AsyncClient",),
    "speechfleet.corpus.corpus_file": ("CorpusFile",),
    "speechfleet.dialogue": ("DialoguePart",),
    "speechfleet.job": ("AsyncJob", "AsyncSpeech", "JobPage", "Status"),
    "speechfleet.lifecycle": ("State",),
    "speechfleet.quotas": ("NamespaceQuotaExceeded", "QuotaStatus"),
    "speechfleet.request": ("Lane", "Request"),
    "speechfleet.session": ("AsyncSession",),
    "speechfleet.settings": ("Settings",),
    "speechfleet.loop_client": ("shared_client",),
    "speechfleet.sync": ("Batch", "Client", "Job", "Session", "Speech"),
    "speechfleet.takes": ("TakeView",),
    "speechfleet.tts": ("AudioBlock", "Msg", "TTSModelBase", "TTSResponse", "TTSUsage"),
    "speechfleet.words": ("Mark", "Word", "WordSource"),
}
"""Modules of the public names, but for errors. They are imported when a name is first used: most
programs and commands use few of them, and all together take a third of a second."""
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 # only here: it takes its time

        value: Any = version("speechfleet")
    elif name in __all__:
        value = getattr(import_module(_HOME_OF.get(name, "speechfleet.errors")), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
