"""The names of keys about batches and files.

speechfleet.1:batches:<ns>                zset: batches by the time they were opened
speechfleet.1:batch:<ns>:<batch>          hash: a batch, its counters and sums
speechfleet.1:items:<ns>:<batch>          set: its jobs that are queued or running
speechfleet.1:failures:<ns>:<batch>       set: its jobs that failed
speechfleet.1:results:<ns>:<batch>        stream: ends of its jobs, until acknowledged
speechfleet.1:feeds                       set: batches that the fleet itself feeds
speechfleet.1:feed:<ns>:<batch>           hash: its corpus, the offset, its feeder
speechfleet.1:parts:<ns>:<batch>          list: objects that its manifest consists of
speechfleet.1:validating                  zset: batches whose input file is to be checked, by
                                          the time from which a gateway may take them
speechfleet.1:windows                     zset: batches by the end of their completion window
speechfleet.1:unlisted:<ns>               set: batches whose output files are in no list yet
speechfleet.1:file:<ns>:<id>              string: what is known of a client's file, as JSON
speechfleet.1:files:<ns>                  zset: files by the time they were made
speechfleet.1:expiring-files              zset: files by the time their object is deleted
"""

from __future__ import annotations

from typing import Self
from urllib.parse import unquote

from speechfleet.ledger.key_prefix import PREFIX
from speechfleet.names import encode

BATCH_PATTERNS = {
    "FEED": f"{PREFIX}:feed:{{namespace}}:",
    "BATCHES": f"{PREFIX}:batches:{{namespace}}",
    "BATCH": f"{PREFIX}:batch:{{namespace}}:",
    "ITEMS": f"{PREFIX}:items:{{namespace}}:",
    "FAILURES": f"{PREFIX}:failures:{{namespace}}:",
    "RESULTS": f"{PREFIX}:results:{{namespace}}:",
    "VALIDATING": f"{PREFIX}:validating",
    "WINDOWS": f"{PREFIX}:windows",
    "UNLISTED": f"{PREFIX}:unlisted:{{namespace}}",
}
"""Names of the keys in the scripts, as in `keys.PATTERNS`."""
FEEDS = f"{PREFIX}:feeds"
VALIDATING = BATCH_PATTERNS["VALIDATING"]
WINDOWS = BATCH_PATTERNS["WINDOWS"]
EXPIRING_FILES = f"{PREFIX}:expiring-files"


class OwnedKeys:
    """The name of something that a namespace owns: ``<ns>/<id>``, both encoded."""

    def __init__(self, namespace: str, id: str) -> None:
        self.namespace = namespace
        self.id = id
        self.encoded = encode(id)
        self.name = f"{encode(namespace)}/{self.encoded}"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a name: ``<ns>/<id>``, both encoded."""
        namespace, _, id = name.partition("/")
        return cls(unquote(namespace), unquote(id))


class BatchKeys(OwnedKeys):
    """The keys of one batch; records hold its name as `encoded`."""

    def __init__(self, namespace: str, id: str) -> None:
        super().__init__(namespace, id)
        self.feed, self.parts = (
            f"{PREFIX}:{what}:{encode(namespace)}:{self.encoded}" for what in ("feed", "parts")
        )
        self.batch, self.items, self.failures, self.results = (
            BATCH_PATTERNS[pattern].replace("{namespace}", encode(namespace)) + self.encoded
            for pattern in ("BATCH", "ITEMS", "FAILURES", "RESULTS")
        )


class FileKeys(OwnedKeys):
    """The keys of one file of a client."""

    def __init__(self, namespace: str, id: str) -> None:
        super().__init__(namespace, id)
        self.record = f"{PREFIX}:file:{encode(namespace)}:{self.encoded}"
        self.index = files(namespace)


def batches(namespace: str) -> str:
    """Name the index of the batches."""
    return BATCH_PATTERNS["BATCHES"].replace("{namespace}", encode(namespace))


def unlisted(namespace: str) -> str:
    """Name the set of batches whose output files are in no list yet."""
    return BATCH_PATTERNS["UNLISTED"].replace("{namespace}", encode(namespace))


def files(namespace: str) -> str:
    """Name the index of the files."""
    return f"{PREFIX}:files:{encode(namespace)}"
