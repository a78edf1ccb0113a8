"""The names of the keys and channels in Redis.

Those about batches and files are in `batch_keys`, those about tenants in `tenant_keys`.

    speechfleet.1:job:<ns>:<id>               hash: the record; the truth about a job
    speechfleet.1:stream:<ns>:<id>:<epoch>    stream: the chunk stream of one epoch
    speechfleet.1:segments:<ns>:<id>:<epoch>  list: finished segments, in order
    speechfleet.1:index:<ns>:<STATE>          zset: ids by the time they got into the state
    speechfleet.1:pending:<list>              zset: queued jobs by sequence number of their message
    speechfleet.1:waiting:<queue>:<ns>        zset: queued jobs of one namespace, in their order
    speechfleet.1:turns:<queue>               zset: namespaces with queued jobs, the next one first
    speechfleet.1:turn                        counter of turns
    speechfleet.1:held:<queue>                hash: namespace -> its jobs of the queue that run
    speechfleet.1:begun:<ns>:<id>             set: hashes of segments that it may have stored
    speechfleet.1:leftovers:<ns>:<id>         set: segments that a deleted job has used
    speechfleet.1:deletions                   zset: deleted jobs by the time of their next sweep
    speechfleet.1:deleted-at                  hash: the same -> when they were deleted
    speechfleet.1:clock                       string: the server's time, to notice a step back
    speechfleet.1:running:<boot>              set: jobs that a worker process owns
    speechfleet.1:delayed                     zset: jobs by the time of their next attempt
    speechfleet.1:deleted:<ns>:<id>           string: a client has deleted the job
    speechfleet.1:accepted                    string: written after what replicas shall confirm
    speechfleet.1:counted:<count>             string: a call that was counted already
    speechfleet.1:recorded:<token>            string: segments that an owner had recorded when it
                                              lost its job
    speechfleet.1:sequence                    counter of messages
    speechfleet.1:lists                       set: every list that messages were put into
    speechfleet.1:beats                       hash: boot -> number of heartbeats
    speechfleet.1:nudged:<boot>               set: sessions with text that the worker has not read
    speechfleet.1:boot:<boot>                 string: the description of a worker, as JSON
    speechfleet.1:usage:<day>:<ns>:<model>    hash: sums of usage
    speechfleet.1:used:<day>:<ns>             set: the keys of its sums of usage
    speechfleet.1:minutes:<ns>:<minute>       hash: jobs that ended, waits for first audio
    speechfleet.1:uses:<ns>:<hash>            set: jobs that use a stored segment
    speechfleet.1:bytes                       counter: audio bytes in all streams
    speechfleet.1:stream-sizes                hash: stream -> audio bytes that it holds
    speechfleet.1:namespace-sizes             hash: namespace -> audio bytes of its streams
    speechfleet.1:expiring                    zset: ended streams by the time they expire
    speechfleet.1:counts                      hash: sums of what workers counted, for metrics
    speechfleet.1:catalogue                   hash: provider -> its models and voices, as JSON
    speechfleet.1:offered                     zset: providers by the time a worker last had them
    speechfleet.1:login:<sha256>              string: the login of a browser, by its token's hash
    speechfleet.1:speaking:<ns>:<hash>        string: the job and token that speak a segment
    speechfleet.1:awaited:<ns>:<hash>         set: suspended jobs that wait for this segment
    speechfleet.1:budgets                     set: rate limits that suspended jobs wait for
    speechfleet.1:budget:<model>              hash: the rate limit of its provider's account
    speechfleet.1:line:<lane>:<model>         zset: suspended jobs that wait for it, in order
    speechfleet.1:tags:<lane>:<model>         hash: namespace -> place of its last job in the line
    speechfleet.1:resumed:<model>               zset: jobs that a place is kept for, until then
    speechfleet.1:calls:<model>               zset: calls under way, where their number is limited
    speechfleet.1:breakers                    set: providers that failed lately
    speechfleet.1:breaker:<provider>          hash: the circuit breaker of a provider
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

from functools import cached_property, lru_cache
from urllib.parse import unquote

from speechfleet.ledger import key_prefix
from speechfleet.ledger.batch_keys import BATCH_PATTERNS
from speechfleet.ledger.tenant_keys import TENANT_PATTERNS
from speechfleet.names import encode
from speechfleet.record import RECORD_VERSION

PREFIX = key_prefix.PREFIX

PATTERNS = {
    "RECORD": f"{PREFIX}:job:{{job}}",
    "STREAMS": f"{PREFIX}:stream:{{job}}:",
    "SEGMENTS": f"{PREFIX}:segments:{{job}}:",
    "INDEX": f"{PREFIX}:index:{{namespace}}:",
    "PENDING": f"{PREFIX}:pending:",
    "RUNNING": f"{PREFIX}:running:",
    "DELAYED": f"{PREFIX}:delayed",
    "CLOCK": f"{PREFIX}:clock",
    "HEARTBEATS": f"{PREFIX}:beats",
    "SEQUENCE": f"{PREFIX}:sequence",
    "LISTS": f"{PREFIX}:lists",
    "USAGE": f"{PREFIX}:usage:",
    "USED": f"{PREFIX}:used:",
    "MINUTES": f"{PREFIX}:minutes:{{namespace}}:",
    "USES": f"{PREFIX}:uses:{{namespace}}:",
    "WAITING": f"{PREFIX}:waiting:",
    "TURNS": f"{PREFIX}:turns:",
    "TURN": f"{PREFIX}:turn",
    "HELD": f"{PREFIX}:held:",
    "BYTES": f"{PREFIX}:bytes",
    "STREAM_SIZES": f"{PREFIX}:stream-sizes",
    "NAMESPACE_SIZES": f"{PREFIX}:namespace-sizes",
    "EXPIRING": f"{PREFIX}:expiring",
    "BEGUN": f"{PREFIX}:begun:{{job}}",
    "LEFTOVERS": f"{PREFIX}:leftovers:{{job}}",
    "DELETIONS": f"{PREFIX}:deletions",
    "DELETED_AT": f"{PREFIX}:deleted-at",
    "SPEAKING": f"{PREFIX}:speaking:{{namespace}}:",
    "WAITERS": f"{PREFIX}:awaited:{{namespace}}:",
    "RATE_LIMITS": f"{PREFIX}:budgets",
    "LINE": f"{PREFIX}:line:",
    "TAGS": f"{PREFIX}:tags:",
    "ENDED": f"{PREFIX}:ended:{{job}}",
    "OPENED": f"{PREFIX}:opened:{{job}}",
    "WORKER": f"{PREFIX}.worker.",
    "NUDGED": f"{PREFIX}:nudged:",
    "CANCELLED": f"{PREFIX}:cancelled",
    "DELETED": f"{PREFIX}:deleted:{{job}}",
    "COUNTED": f"{PREFIX}:counted:",
    "RECORDED": f"{PREFIX}:recorded:",
    **BATCH_PATTERNS,
    **TENANT_PATTERNS,
}
"""Names of the keys in the scripts. ``{namespace}`` and ``{job}`` (``<ns>:<id>``) are encoded."""

RATE_LIMITS = PATTERNS["RATE_LIMITS"]
RATE_LIMIT_LANES = ("live", "batch")
RECORDS = PATTERNS["RECORD"].removesuffix("{job}")
"""The prefix of every record."""
DELAYED = PATTERNS["DELAYED"]
HEARTBEATS = PATTERNS["HEARTBEATS"]
LISTS = PATTERNS["LISTS"]
BYTES = PATTERNS["BYTES"]
STREAM_SIZES = PATTERNS["STREAM_SIZES"]
NAMESPACE_SIZES = PATTERNS["NAMESPACE_SIZES"]
STREAM_COUNTERS = (BYTES, STREAM_SIZES, NAMESPACE_SIZES)
"""They count the audio in all streams, and change together."""
EXPIRING = PATTERNS["EXPIRING"]
DELETIONS = PATTERNS["DELETIONS"]
DELETED_AT = PATTERNS["DELETED_AT"]
CLOCK = PATTERNS["CLOCK"]
CANCELLED = PATTERNS["CANCELLED"]
DRAIN = f"{PREFIX}:drain"
COUNTS = f"{PREFIX}:counts"
CATALOGUE = f"{PREFIX}:catalogue"
OFFERED = f"{PREFIX}:offered"
ACCEPTED = f"{PREFIX}:accepted"
BREAKERS = f"{PREFIX}:breakers"


def login(hash: str) -> str:
    """Return the key of a browser's login."""
    return f"{PREFIX}:login:{hash}"


class JobKeys:
    """The keys of one job. Never changed: what asks for the same name shares them."""

    def __init__(self, namespace: str, id: str) -> None:
        self.namespace = namespace
        self.id = id
        self._ns, self._id = encode(namespace), encode(id)
        self.name = f"{self._ns}/{self._id}"
        self.record = self._fill("RECORD")

    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, name: str) -> JobKeys:
        """Read a job's name: ``<ns>/<id>``, both encoded."""
        namespace, _, id = name.partition("/")
        return cls(unquote(namespace), unquote(id))

    def _fill(self, pattern: str) -> str:
        filled = PATTERNS[pattern].replace("{namespace}", self._ns)
        return filled.replace("{job}", f"{self._ns}:{self._id}")

    @cached_property
    def streams(self) -> str:
        """Prefix of its chunk streams; the epoch follows."""
        return self._fill("STREAMS")

    def stream(self, epoch: int) -> str:
        """Name the chunk stream of an epoch."""
        return f"{self.streams}{epoch}"

    def segments(self, epoch: int) -> str:
        """Name the list of finished segments of an epoch."""
        return f"{self._fill('SEGMENTS')}{epoch}"

    @cached_property
    def minutes(self) -> str:
        """The prefix of its namespace's counts by the minute."""
        return minutes(self.namespace)

    @property
    def begun(self) -> str:
        """The set of segments that it may have stored."""
        return self._fill("BEGUN")

    @property
    def leftovers(self) -> str:
        """The set of segments that it used before it was deleted."""
        return self._fill("LEFTOVERS")

    @property
    def ended(self) -> str:
        """The channel that reports its end."""
        return self._fill("ENDED")

    @property
    def opened(self) -> str:
        """The channel that reports that a worker has taken a session."""
        return self._fill("OPENED")


class RateLimitKeys:
    """The keys of the rate limit of one model; `name` stands for it in sets and keys."""

    def __init__(self, model: str) -> None:
        self.name = encode(model)
        self.limit = f"{PREFIX}:budget:{self.name}"
        self.live, self.batch = (
            f"{PATTERNS['LINE']}{lane}:{self.name}" for lane in RATE_LIMIT_LANES
        )
        self.live_tags, self.batch_tags = (
            f"{PATTERNS['TAGS']}{lane}:{self.name}" for lane in RATE_LIMIT_LANES
        )
        self.resumed = f"{PREFIX}:resumed:{self.name}"
        self.calls = f"{PREFIX}:calls:{self.name}"


def breaker(provider: str) -> str:
    """Name the circuit breaker of a provider."""
    return f"{PREFIX}:breaker:{encode(provider)}"


def speaking(namespace: str, hash: str) -> str:
    """Name the claim on a segment."""
    return PATTERNS["SPEAKING"].replace("{namespace}", encode(namespace)) + hash


def uses(namespace: str, hash: str) -> str:
    """Name the set of jobs that use a segment."""
    return PATTERNS["USES"].replace("{namespace}", encode(namespace)) + hash


def rate_limits() -> str:
    """Build the pattern for SCAN over every rate limit."""
    return f"{PREFIX}:budget:*"


def model_of_rate_limit(name: str) -> str:
    """Read the model from a rate limit's key, or from its name."""
    return unquote(name.rpartition(":")[2])


def index(namespace: str, state: str) -> str:
    """Name the index of the jobs in a state."""
    return PATTERNS["INDEX"].replace("{namespace}", encode(namespace)) + state


def indexes() -> str:
    """Build the pattern for SCAN over the indexes of every namespace."""
    return PATTERNS["INDEX"].replace("{namespace}", "*") + "*"


def pending(list: str) -> str:
    """Name the set of the jobs whose message is in a list."""
    return PATTERNS["PENDING"] + list


def running(boot: str) -> str:
    """Name the set of the jobs that a worker owns."""
    return PATTERNS["RUNNING"] + boot


def nudged(boot: str) -> str:
    """Name the set of a worker's sessions with new text."""
    return PATTERNS["NUDGED"] + boot


def boot(boot: str) -> str:
    """Name the description of a worker."""
    return f"{PREFIX}:boot:{boot}"


def used(day: int, namespace: str) -> str:
    """Name the set of the sums of one day, numbered from 1970-01-01."""
    return f"{PATTERNS['USED']}{day}:{encode(namespace)}"


def minutes(namespace: str) -> str:
    """Name the prefix of a namespace's counts by the minute, numbered from 1970-01-01."""
    return PATTERNS["MINUTES"].replace("{namespace}", encode(namespace))


def model_of_usage(key: str) -> str:
    """Read the model from a key of usage."""
    return unquote(key.rpartition(":")[2])


def queue(lane: str, provider: str, version: int = RECORD_VERSION) -> str:
    """Name the queue of jobs whose records have this version.

    A worker that does not read a version does not consume its queue, so workers of two releases
    never take each other's messages.
    """
    suffix = "" if version == 1 else f"@{version}"
    return f"{PREFIX}.{lane}.{encode(provider)}{suffix}"


def queues(lane: str, provider: str) -> list[str]:
    """Name the queues of every record version that this release reads, newest first."""
    return [queue(lane, provider, version) for version in range(RECORD_VERSION, 0, -1)]


def worker(boot: str) -> str:
    """Name the queue of one worker, which is also its routing key."""
    return PATTERNS["WORKER"] + boot


def held(queue: str) -> str:
    """Name the counts of a queue's running jobs by namespace."""
    return PATTERNS["HELD"] + queue


def queue_of(list: str) -> str:
    """Name the queue that a list is a part of: kombu has a list for each priority."""
    return list.partition("\x06")[0]


def lane_of(queue: str) -> tuple[str, str]:
    """Read (lane, provider) from the name of a queue."""
    lane, _, provider = queue.removeprefix(f"{PREFIX}.").partition(".")
    return lane, unquote(provider.partition("@")[0])
