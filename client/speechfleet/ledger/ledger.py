"""The ledger: everything that the fleet keeps in Redis, by subject, over one connection."""

from __future__ import annotations

from speechfleet.ledger.activity import Activities
from speechfleet.ledger.api_keys import ApiKeys
from speechfleet.ledger.batch_orders import BatchOrders
from speechfleet.ledger.batch_pages import BatchPages
from speechfleet.ledger.batches import Batches
from speechfleet.ledger.circuit_breakers import CircuitBreakers
from speechfleet.ledger.connection import CLIENT_PATIENCE_S, Connection
from speechfleet.ledger.deletions import Deletions
from speechfleet.ledger.feeds import Feeds
from speechfleet.ledger.files import Files
from speechfleet.ledger.job_index import JobIndex
from speechfleet.ledger.job_pages import JobPages
from speechfleet.ledger.job_search import JobSearch
from speechfleet.ledger.jobs import Jobs
from speechfleet.ledger.logins import Logins
from speechfleet.ledger.open_work import OpenWork
from speechfleet.ledger.overview import FleetOverview
from speechfleet.ledger.queues import Queues
from speechfleet.ledger.quotas import Quotas
from speechfleet.ledger.rate_limits import RateLimiter
from speechfleet.ledger.stream_budget import StreamBudget
from speechfleet.ledger.streams import Streams
from speechfleet.ledger.webhooks import Webhooks
from speechfleet.ledger.workers import Workers
from speechfleet.settings import Settings


class Ledger:
    """Open one connection to Redis for all subjects, on one event loop.

    ``patience_s``: how long a command is repeated while Redis is away; ``name``: what the
    connections are called in the server's client list. Raises MisconfiguredError where no Redis
    is set; nothing is connected before `open`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        patience_s: float = CLIENT_PATIENCE_S,
        name: str = "client",
    ) -> None:
        self.connection = Connection(settings, patience_s=patience_s, name=name)
        self.jobs = Jobs(self.connection)
        self.deletions = Deletions(self.connection)
        self.job_pages = JobPages(self.connection)
        self.job_search = JobSearch(self.connection)
        self.job_index = JobIndex(self.connection)
        self.queues = Queues(self.connection)
        self.open_work = OpenWork(self.connection)
        self.workers = Workers(self.connection)
        self.batches = Batches(self.connection)
        self.batch_pages = BatchPages(self.connection, self.batches)
        self.batch_orders = BatchOrders(self.connection, self.batches)
        self.feeds = Feeds(self.connection)
        self.files = Files(self.connection)
        self.rate_limiter = RateLimiter(self.connection)
        self.breakers = CircuitBreakers(self.connection)
        self.streams = Streams(self.connection)
        self.stream_budget = StreamBudget(self.connection)
        self.activities = Activities(self.connection)
        self.overview = FleetOverview(self.connection)
        self.logins = Logins(self.connection)
        self.api_keys = ApiKeys(self.connection)
        self.quotas = Quotas(self.connection)
        self.webhooks = Webhooks(self.connection)

    async def open(self) -> None:
        """Check the server and load the scripts. Idempotent."""
        await self.connection.open()

    async def close(self) -> None:
        """Close every subscription and the connection."""
        await self.streams.close()
        await self.connection.close()
