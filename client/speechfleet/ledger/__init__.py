"""The ledger: the one place that talks to Redis.

ledger.py         all subjects over one connection
connection.py     connecting; pipeline.py: commands sent together; server_errors.py: errors as ours
keys.py           every key and channel, with batch_keys.py and tenant_keys.py;
                  message.py: the Celery message of a job
scripts.py        the Lua scripts of ``lua/``: filled in, loaded, run
jobs.py           submit, find, list, cancel, retry, delete; job_pages.py, job_search.py,
                  job_index.py: lists
deletions.py      deleted jobs whose objects are still swept from the store
lease.py          a worker's right to one job: claim, publish, finish, fail
queues.py         job messages: lost, due, given back
workers.py        the registry of worker processes; logins.py: logins of browsers; api_keys.py
webhooks.py       receivers of events, and the queues of events to send
quotas.py         what each namespace may use, and what the scripts count of it
batches.py        batches of jobs: counters, results; batch_status.py; batch_pages.py: lists of
                  them; batch_orders.py: those with an input file to check and a window;
                  feeds.py: batches that the fleet feeds
files.py          files that clients uploaded, or that batches put out
rate_limits.py    rate limits of providers' accounts, and single-flight
streams.py        reading many chunk streams; stream_budget.py: the audio that they hold
activity.py       the last hour of a namespace, by the minute
overview.py       the fleet as a whole: queues, catalogue, counts
"""

from speechfleet.ledger.batch_status import BatchState, BatchStatus
from speechfleet.ledger.batches import Batches, Result, WindowFull
from speechfleet.ledger.connection import Connection
from speechfleet.ledger.deletions import Deletion, Deletions, Leftovers
from speechfleet.ledger.feeds import Feed, Feeding, FeedLost, Feeds
from speechfleet.ledger.job_search import JobFilter
from speechfleet.ledger.jobs import Jobs, Submitted
from speechfleet.ledger.lease import Claim, ClaimOutcome, Lease, NoRoom
from speechfleet.ledger.overview import FleetOverview
from speechfleet.ledger.rate_limits import Acquired, RateLimit, RateLimiter
from speechfleet.ledger.segment_accounts import LeaseLost
from speechfleet.ledger.streams import Streams
from speechfleet.ledger.workers import Workers

__all__ = [
    "Acquired",
    "BatchState",
    "BatchStatus",
    "Batches",
    "Claim",
    "ClaimOutcome",
    "Connection",
    "Deletion",
    "Deletions",
    "Feed",
    "FeedLost",
    "Feeding",
    "Feeds",
    "FleetOverview",
    "JobFilter",
    "Jobs",
    "Lease",
    "LeaseLost",
    "Leftovers",
    "NoRoom",
    "RateLimit",
    "RateLimiter",
    "Result",
    "Streams",
    "Submitted",
    "WindowFull",
    "Workers",
]
