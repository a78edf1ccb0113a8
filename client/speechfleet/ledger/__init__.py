"""The one place that talks to Redis about jobs.

connection.py   connecting, and Redis' errors as ours
scripts.py      the Lua scripts: loaded, filled in, run; commands of a moment sent together
jobs.py         what a client does: submit, look, list, cancel, retry, delete
batches.py      batches of jobs: counters, results, folding
feeds.py        batches that the fleet feeds: how far, and by whom
budgets.py      what providers' accounts allow, for all workers together
lease.py        what a worker does with a job that it owns
fleet.py        worker processes: heartbeats, queues, and what a dead one leaves behind
telemetry.py    the fleet as a whole: lines, catalogue, counts
hub.py          reading many chunk streams, and hearing that a job ended
"""

from speechfleet.ledger.batches import Batches, BatchState, BatchStatus, Result, WindowFull
from speechfleet.ledger.budgets import Budget, Budgets, Taken
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.feeds import Feed, Feeding, FeedLost, Feeds
from speechfleet.ledger.fleet import Fleet
from speechfleet.ledger.hub import Hub
from speechfleet.ledger.jobs import Jobs, Submitted
from speechfleet.ledger.lease import Claim, Lease, LeaseLost, StreamFull
from speechfleet.ledger.telemetry import Telemetry

__all__ = [
    "BatchState",
    "BatchStatus",
    "Batches",
    "Budget",
    "Budgets",
    "Claim",
    "Connection",
    "Feed",
    "FeedLost",
    "Feeding",
    "Feeds",
    "Fleet",
    "Hub",
    "Jobs",
    "Lease",
    "LeaseLost",
    "Result",
    "StreamFull",
    "Submitted",
    "Taken",
    "Telemetry",
    "WindowFull",
]
