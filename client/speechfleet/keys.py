"""Every key and channel in Redis, and nothing else knows their names.

    speechfleet.1:job:<ns>:<id>               hash: the record; the truth about a job
    speechfleet.1:stream:<ns>:<id>:<epoch>    stream: the chunk stream of one epoch
    speechfleet.1:segments:<ns>:<id>:<epoch>  list: finished segments, in order
    speechfleet.1:index:<ns>:<STATE>          zset: ids by the time they got into the state
    speechfleet.1:pending:<queue>             zset: queued jobs by sequence number
    speechfleet.1:running:<boot>              set: jobs that a worker process owns
    speechfleet.1:delayed                     zset: jobs by the time of their next attempt
    speechfleet.1:sequence                    counter of messages
    speechfleet.1:lists                       set: every list that messages were put into
    speechfleet.1:beats                       hash: boot -> number of heartbeats
    speechfleet.1:boot:<boot>                 string: what the worker can do, as JSON
    speechfleet.1:usage:<day>:<ns>:<model>    hash: sums of usage
    speechfleet.1:uses:<ns>:<hash>            set: jobs that use a stored segment
    speechfleet.1:bytes                       counter: audio bytes in all streams
    speechfleet.1:expiring                    zset: ended streams with their bytes, by expiry
    speechfleet.1:ended:<ns>:<id>             channel: a job ended
    speechfleet.1:cancelled                   channel: a job was cancelled
    speechfleet.1.<lane>.<provider>           list: the Celery queue
    speechfleet.1.unacked.<boot>, ...         kombu's own, one set a worker process

Names are percent-encoded, so that ``:`` separates and ``/`` joins: a job's *name* is
``<ns>/<id>``, the form that messages and sets carry.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, unquote

PREFIX = "speechfleet.1"

DELAYED = f"{PREFIX}:delayed"
SEQUENCE = f"{PREFIX}:sequence"
LISTS = f"{PREFIX}:lists"
BEATS = f"{PREFIX}:beats"
BYTES = f"{PREFIX}:bytes"
EXPIRING = f"{PREFIX}:expiring"
CANCELLED = f"{PREFIX}:cancelled"
PENDING = f"{PREFIX}:pending:"
RUNNING = f"{PREFIX}:running:"


def encode(part: str) -> str:
    return quote(part, safe="")


@dataclass(frozen=True)
class JobKeys:
    """The keys of one job."""

    namespace: str
    id: str

    @classmethod
    def parse(cls, name: str) -> JobKeys:
        namespace, _, id = name.partition("/")
        return cls(unquote(namespace), unquote(id))

    @cached_property
    def name(self) -> str:
        return f"{encode(self.namespace)}/{encode(self.id)}"

    @cached_property
    def _tail(self) -> str:
        return f"{encode(self.namespace)}:{encode(self.id)}"

    @cached_property
    def record(self) -> str:
        return f"{PREFIX}:job:{self._tail}"

    @cached_property
    def stream_prefix(self) -> str:
        return f"{PREFIX}:stream:{self._tail}:"

    def stream(self, epoch: int) -> str:
        return f"{self.stream_prefix}{epoch}"

    @cached_property
    def segments_prefix(self) -> str:
        return f"{PREFIX}:segments:{self._tail}:"

    def segments(self, epoch: int) -> str:
        return f"{self.segments_prefix}{epoch}"

    @cached_property
    def ended(self) -> str:
        return f"{PREFIX}:ended:{self._tail}"

    @cached_property
    def all(self) -> list[str]:
        """In the order in which ``lua/prelude.lua`` names them."""
        namespace = encode(self.namespace)
        return [
            self.record,
            self.stream_prefix,
            self.segments_prefix,
            f"{PREFIX}:index:{namespace}:",
            PENDING,
            RUNNING,
            DELAYED,
            SEQUENCE,
            f"{PREFIX}:usage:",
            f"{PREFIX}:uses:{namespace}:",
            BYTES,
            EXPIRING,
            self.ended,
            CANCELLED,
            LISTS,
        ]


def index(namespace: str, state: str) -> str:
    return f"{PREFIX}:index:{encode(namespace)}:{state}"


def indexes() -> str:
    """A pattern for SCAN over every namespace's indexes."""
    return f"{PREFIX}:index:*"


def pending(queue: str) -> str:
    return f"{PENDING}{queue}"


def running(boot: str) -> str:
    return f"{RUNNING}{boot}"


def boot(boot: str) -> str:
    return f"{PREFIX}:boot:{boot}"


def usage(day: str, namespace: str, model: str) -> str:
    return f"{PREFIX}:usage:{day}:{encode(namespace)}:{encode(model)}"


def usages(day: str, namespace: str) -> str:
    """A pattern for SCAN over the models of one day."""
    return f"{PREFIX}:usage:{day}:{encode(namespace)}:*"


def uses(namespace: str, hash: str) -> str:
    return f"{PREFIX}:uses:{encode(namespace)}:{hash}"


def queue(lane: str, provider: str) -> str:
    return f"{PREFIX}.{lane}.{encode(provider)}"


def unacked(boot: str) -> str:
    return f"{PREFIX}.unacked.{boot}"


def unacked_index(boot: str) -> str:
    return f"{PREFIX}.unacked_index.{boot}"


def unacked_mutex(boot: str) -> str:
    return f"{PREFIX}.unacked_mutex.{boot}"


# --- the object store's keys ----------------------------------------------------------------


def objects_of(namespace: str, id: str) -> str:
    """The prefix of every audio object of one job."""
    return f"audio/{encode(namespace)}/{_path(id)}/"


def audio_object(namespace: str, id: str, token: str, extension: str) -> str:
    return f"{objects_of(namespace, id)}{encode(token)}.{extension}"


def segment_object(namespace: str, hash: str) -> str:
    return f"segments/{encode(namespace)}/{hash[:2]}/{hash}"


def _path(part: str) -> str:
    """A percent-encoded name of at most 200 bytes that is never ``.`` or ``..``.

    256 characters of a name can be 3 kB when percent-encoded; file systems stop at 255 bytes.
    """
    safe = encode(part).replace(".", "%2E") if set(part) == {"."} else encode(part)
    if len(safe) <= 200:
        return safe
    digest = hashlib.blake2b(part.encode(), digest_size=16).hexdigest()
    return f"{safe[:150]}~{digest}"
