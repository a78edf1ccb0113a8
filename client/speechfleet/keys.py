"""Every key and channel in Redis, and nothing else knows their names.

    speechfleet.1:job:<ns>:<id>               hash: the record; the truth about a job
    speechfleet.1:stream:<ns>:<id>:<epoch>    stream: the chunk stream of one epoch
    speechfleet.1:segments:<ns>:<id>:<epoch>  list: finished segments, in order
    speechfleet.1:index:<ns>:<STATE>          zset: ids by the time they got into the state
    speechfleet.1:pending:<queue>             zset: queued jobs by sequence number
    speechfleet.1:running:<boot>              set: jobs that a worker process owns
    speechfleet.1:delayed                     zset: jobs by the time of their next attempt
    speechfleet.1:deleted:<ns>:<id>           string: the job is gone because somebody said so
    speechfleet.1:sequence                    counter of messages
    speechfleet.1:lists                       set: every list that messages were put into
    speechfleet.1:beats                       hash: boot -> number of heartbeats
    speechfleet.1:nudged:<boot>               set: sessions with text that it has not read
    speechfleet.1:boot:<boot>                 string: what the worker can do, as JSON
    speechfleet.1:usage:<day>:<ns>:<model>    hash: sums of usage
    speechfleet.1:uses:<ns>:<hash>            set: jobs that use a stored segment
    speechfleet.1:bytes                       counter: audio bytes in all streams
    speechfleet.1:expiring                    zset: ended streams with their bytes, by expiry
    speechfleet.1:counts                      hash: sums of what workers counted, for metrics
    speechfleet.1:catalogue                   hash: provider -> its models and voices, as JSON
    speechfleet.1:batches:<ns>                zset: batches by the time they were opened
    speechfleet.1:batch:<ns>:<batch>          hash: a batch, its counters and sums
    speechfleet.1:items:<ns>:<batch>          set: its jobs that are queued or running
    speechfleet.1:failures:<ns>:<batch>       set: its jobs that failed
    speechfleet.1:results:<ns>:<batch>        stream: how its jobs ended, until it is folded
    speechfleet.1:feeds                       set: batches that the fleet itself has to feed
    speechfleet.1:feed:<ns>:<batch>           hash: its corpus, how far it is fed, and by whom
    speechfleet.1:parts:<ns>:<batch>          list: objects that its manifest consists of
    speechfleet.1:speaking:<ns>:<hash>        string: the job and token that speak a segment
    speechfleet.1:awaited:<ns>:<hash>         set: parked jobs that wait for this segment
    speechfleet.1:budgets                     set: budgets that parked jobs wait for
    speechfleet.1:budget:<model>              hash: what its provider's account allows, and took
    speechfleet.1:line:<lane>:<model>         zset: parked jobs that wait for it, by age
    speechfleet.1:woken:<model>               zset: jobs that a place is kept for, until then
    speechfleet.1:calls:<model>               zset: calls under way, where their number is limited
    speechfleet.1:ended:<ns>:<id>             channel: a job ended
    speechfleet.1:opened:<ns>:<id>            channel: a worker has taken a session
    speechfleet.1:cancelled                   channel: "<job> <token>" of what was cancelled
    speechfleet.1:drain                       channel: a boot id, or ``*``: stop taking jobs
    speechfleet.1.<lane>.<provider>           list: the Celery queue
    speechfleet.1.worker.<boot>               list: the queue of one worker that holds sessions

Names are percent-encoded, so that ``:`` separates and ``/`` joins: a job's *name* is
``<ns>/<id>``, the form that messages and sets carry.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property, lru_cache
from urllib.parse import quote, unquote

PREFIX = "speechfleet.1"

PATTERNS = {
    "RECORD": f"{PREFIX}:job:{{job}}",
    "STREAMS": f"{PREFIX}:stream:{{job}}:",
    "SEGMENTS": f"{PREFIX}:segments:{{job}}:",
    "INDEX": f"{PREFIX}:index:{{namespace}}:",
    "PENDING": f"{PREFIX}:pending:",
    "RUNNING": f"{PREFIX}:running:",
    "DELAYED": f"{PREFIX}:delayed",
    "BEATS": f"{PREFIX}:beats",
    "SEQUENCE": f"{PREFIX}:sequence",
    "LISTS": f"{PREFIX}:lists",
    "USAGE": f"{PREFIX}:usage:",
    "USES": f"{PREFIX}:uses:{{namespace}}:",
    "BYTES": f"{PREFIX}:bytes",
    "EXPIRING": f"{PREFIX}:expiring",
    "BATCHES": f"{PREFIX}:batches:{{namespace}}",
    "BATCH": f"{PREFIX}:batch:{{namespace}}:",
    "ITEMS": f"{PREFIX}:items:{{namespace}}:",
    "FAILURES": f"{PREFIX}:failures:{{namespace}}:",
    "RESULTS": f"{PREFIX}:results:{{namespace}}:",
    "SPEAKING": f"{PREFIX}:speaking:{{namespace}}:",
    "AWAITED": f"{PREFIX}:awaited:{{namespace}}:",
    "BUDGETS": f"{PREFIX}:budgets",
    "LINE": f"{PREFIX}:line:",
    "ENDED": f"{PREFIX}:ended:{{job}}",
    "OPENED": f"{PREFIX}:opened:{{job}}",
    "WORKER": f"{PREFIX}.worker.",
    "NUDGED": f"{PREFIX}:nudged:",
    "CANCELLED": f"{PREFIX}:cancelled",
    "DELETED": f"{PREFIX}:deleted:{{job}}",
}
"""What the scripts call them. ``{namespace}`` and ``{job}`` (``<ns>:<id>``) are encoded."""

BUDGETS = PATTERNS["BUDGETS"]
BUDGET_LANES = ("live", "batch")
DELAYED = PATTERNS["DELAYED"]
BEATS = PATTERNS["BEATS"]
LISTS = PATTERNS["LISTS"]
BYTES = PATTERNS["BYTES"]
EXPIRING = PATTERNS["EXPIRING"]
CANCELLED = PATTERNS["CANCELLED"]
DRAIN = f"{PREFIX}:drain"
FEEDS = f"{PREFIX}:feeds"
COUNTS = f"{PREFIX}:counts"
CATALOGUE = f"{PREFIX}:catalogue"


_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
_PATH = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch


@lru_cache(maxsize=4096)
def encode(part: str) -> str:
    if _PLAIN(part):
        return part
    # An item of a batch is "<batch>/<item>", and there are many.
    return part.replace("/", "%2F") if _PATH(part) else quote(part, safe="")


class JobKeys:
    """The keys of one job."""

    def __init__(self, namespace: str, id: str) -> None:
        self.namespace = namespace
        self.id = id
        self._ns, self._id = encode(namespace), encode(id)
        self.name = f"{self._ns}/{self._id}"
        self.record = self._fill("RECORD")

    @classmethod
    def parse(cls, name: str) -> JobKeys:
        namespace, _, id = name.partition("/")
        return cls(unquote(namespace), unquote(id))

    def _fill(self, pattern: str) -> str:
        filled = PATTERNS[pattern].replace("{namespace}", self._ns)
        return filled.replace("{job}", f"{self._ns}:{self._id}")

    @cached_property
    def streams(self) -> str:
        """Prefix; the epoch follows."""
        return self._fill("STREAMS")

    def stream(self, epoch: int) -> str:
        return f"{self.streams}{epoch}"

    def segments(self, epoch: int) -> str:
        return f"{self._fill('SEGMENTS')}{epoch}"

    @property
    def ended(self) -> str:
        return self._fill("ENDED")

    @property
    def opened(self) -> str:
        return self._fill("OPENED")


class BatchKeys:
    """The keys of one batch; `encoded` is how records name it."""

    def __init__(self, namespace: str, id: str) -> None:
        self.namespace = namespace
        self.id = id
        self.encoded = encode(id)
        self.name = f"{encode(namespace)}/{self.encoded}"
        self.feed, self.parts = (
            f"{PREFIX}:{what}:{encode(namespace)}:{self.encoded}" for what in ("feed", "parts")
        )
        self.batch, self.items, self.failures, self.results = (
            PATTERNS[pattern].replace("{namespace}", encode(namespace)) + self.encoded
            for pattern in ("BATCH", "ITEMS", "FAILURES", "RESULTS")
        )

    @classmethod
    def parse(cls, name: str) -> BatchKeys:
        namespace, _, id = name.partition("/")
        return cls(unquote(namespace), unquote(id))


class BudgetKeys:
    """The keys of what one model of one account may be asked for; `name` stands for it."""

    def __init__(self, model: str) -> None:
        self.name = encode(model)
        self.budget = f"{PREFIX}:budget:{self.name}"
        self.live, self.batch = (f"{PATTERNS['LINE']}{lane}:{self.name}" for lane in BUDGET_LANES)
        self.woken = f"{PREFIX}:woken:{self.name}"
        self.calls = f"{PREFIX}:calls:{self.name}"


def speaking(namespace: str, hash: str) -> str:
    return PATTERNS["SPEAKING"].replace("{namespace}", encode(namespace)) + hash


def uses(namespace: str, hash: str) -> str:
    return PATTERNS["USES"].replace("{namespace}", encode(namespace)) + hash


def budgets() -> str:
    """A pattern for SCAN over every budget."""
    return f"{PREFIX}:budget:*"


def model_of_budget(name: str) -> str:
    """From a budget's key, or from its name."""
    return unquote(name.rpartition(":")[2])


def batches(namespace: str) -> str:
    return PATTERNS["BATCHES"].replace("{namespace}", encode(namespace))


def index(namespace: str, state: str) -> str:
    return PATTERNS["INDEX"].replace("{namespace}", encode(namespace)) + state


def indexes() -> str:
    """A pattern for SCAN over every namespace's indexes."""
    return PATTERNS["INDEX"].replace("{namespace}", "*") + "*"


def pending(list: str) -> str:
    return PATTERNS["PENDING"] + list


def running(boot: str) -> str:
    return PATTERNS["RUNNING"] + boot


def nudged(boot: str) -> str:
    return PATTERNS["NUDGED"] + boot


def boot(boot: str) -> str:
    return f"{PREFIX}:boot:{boot}"


def usages(day: int, namespace: str) -> str:
    """A pattern for SCAN over the models of one day, numbered from 1970-01-01."""
    return f"{PATTERNS['USAGE']}{day}:{encode(namespace)}:*"


def model_of_usage(key: str) -> str:
    return unquote(key.rpartition(":")[2])


def queue(lane: str, provider: str) -> str:
    return f"{PREFIX}.{lane}.{encode(provider)}"


def worker(boot: str) -> str:
    """The queue of one worker, which is also its routing key."""
    return PATTERNS["WORKER"] + boot


def queue_of(list: str) -> str:
    """The queue that a list is a part of: kombu has a list for each priority."""
    return list.partition("\x06")[0]


def lane_of(queue: str) -> tuple[str, str]:
    """(lane, provider)."""
    lane, _, provider = queue.removeprefix(f"{PREFIX}.").partition(".")
    return lane, unquote(provider)


# --- the object store's keys ----------------------------------------------------------------


def objects_of(namespace: str, id: str) -> str:
    """The prefix of every audio object of one job."""
    return f"audio/{encode(namespace)}/{_path(id)}/"


def audio_object(namespace: str, id: str, token: str, extension: str) -> str:
    return f"{objects_of(namespace, id)}{encode(token)}.{extension}"


def segment_object(namespace: str, hash: str) -> str:
    return f"segments/{encode(namespace)}/{hash[:2]}/{hash}"


def objects_of_batch(namespace: str, batch: str) -> str:
    """The prefix of corpus and manifest of a batch that the fleet feeds; not of its audio."""
    return f"batches/{encode(namespace)}/{_path(batch)}/"


def corpus_object(namespace: str, batch: str, digest: str) -> str:
    """The items, a line each."""
    return f"{objects_of_batch(namespace, batch)}corpus-{digest}.jsonl"


def manifest_object(namespace: str, batch: str, part: str) -> str:
    return f"{objects_of_batch(namespace, batch)}manifest/{part}.jsonl"


def _path(part: str) -> str:
    """A percent-encoded name of at most 200 bytes that is never ``.`` or ``..``.

    256 characters of a name can be 3 kB when percent-encoded; file systems stop at 255 bytes.
    """
    safe = encode(part).replace(".", "%2E") if set(part) == {"."} else encode(part)
    if len(safe) <= 200:
        return safe
    digest = hashlib.blake2b(part.encode(), digest_size=16).hexdigest()
    return f"{safe[:150]}~{digest}"
