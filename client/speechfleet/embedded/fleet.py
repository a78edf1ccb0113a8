"""The embedded fleet: a server, a folder store and workers that end with this process."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from speechfleet.embedded import shared
from speechfleet.embedded.data_folder import make_folders
from speechfleet.embedded.disk_watch import DiskWatch
from speechfleet.embedded.reaper import REAPER
from speechfleet.embedded.requirements import require_worker
from speechfleet.embedded.valkey import EmbeddedValkey
from speechfleet.embedded.worker_pool import WorkerPool
from speechfleet.embedded.worker_process import WorkerProcess
from speechfleet.errors import FolderInUse, MisconfiguredError
from speechfleet.request import Lane
from speechfleet.settings import Settings

SESSIONS = ["--lanes", Lane.SESSION.value]
"""Arguments of a worker that holds realtime sessions."""
_EXIT_MARGIN_S = 10.0
"""Beyond the workers' own grace: to hand the jobs back and exit."""


class EmbeddedFleet:
    """Run Valkey, a folder as the object store, and N worker processes; a context manager.

    ``data`` holds everything that lasts: ``valkey/``, ``store/``, and ``logs/`` of the last
    run; a fleet that is started on it again finds its jobs as they were. None: a temporary
    folder, which is removed at the end. ``slots``, ``lanes``: the workers' ``--concurrency``
    and ``--lanes``; the worker decides where None. ``sessions``: one more worker, which holds
    realtime sessions. ``environ`` is added to the workers' environment. ``valkey=False``: use
    the server that ``SPEECHFLEET_REDIS_URL`` names. ``store_url``: another store.
    ``supervise``: start processes again that end with another status than 0. ``grace``: seconds
    that `stop` leaves to running jobs; else the setting.

    Every process that it started ends with it, also when this process is killed by signal 9.
    """

    def __init__(
        self,
        data: Path | None = None,
        *,
        workers: int = 1,
        slots: int | None = None,
        lanes: Sequence[str] | None = None,
        sessions: bool = False,
        environ: Mapping[str, str] | None = None,
        valkey: bool = True,
        store_url: str | None = None,
        supervise: bool = True,
        grace: float | None = None,
    ) -> None:
        settings = Settings.load(grace=grace)
        self._temporary = data is None
        self._data = data.absolute() if data is not None else None
        self._args = _worker_args(lanes, slots)
        self._count = workers
        self._sessions = sessions
        self._added = {**(environ or {}), "SPEECHFLEET_GRACE": f"{settings.grace:g}"}
        self._grace = settings.grace + _EXIT_MARGIN_S
        self._supervise = supervise
        self._embedded = valkey
        self._given_redis = settings.redis_url
        self._given_store = store_url
        self._pool: WorkerPool | None = None
        self._announced = False
        self._disk_watch: DiskWatch | None = None
        self.valkey: EmbeddedValkey | None = None

    @property
    def data(self) -> Path:
        if self._data is None:
            raise MisconfiguredError("the embedded fleet does not run")
        return self._data

    @property
    def redis_url(self) -> str:
        if self.valkey is not None:
            return self.valkey.url
        if self._given_redis is None or self._embedded:
            raise MisconfiguredError("SPEECHFLEET_REDIS_URL is not set, and no server started")
        return self._given_redis.get_secret_value()

    @property
    def store_url(self) -> str:
        return self._given_store or (self.data / "store").as_uri()

    @property
    def environ(self) -> dict[str, str]:
        """The settings by which a client or a worker joins this fleet."""
        return {
            **self._added,
            "SPEECHFLEET_REDIS_URL": self.redis_url,
            "SPEECHFLEET_STORE": self.store_url,
        }

    def __enter__(self) -> EmbeddedFleet:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        with ExitStack() as stack:
            stack.callback(self.stop)
            if kind is None and self._announced:
                stack.enter_context(shared.without_guests(self.data))
                shared.withdraw(self.data)

    def start(self) -> None:
        """Start everything, and wait until every worker takes jobs; no-op if it runs.

        Raises FolderInUse, MisconfiguredError (with the end of a log), and then leaves nothing.
        """
        if self._pool is not None:
            return
        launched = [self._args] * self._count + ([SESSIONS] if self._sessions else [])
        if launched:
            require_worker("a fleet on this machine", "local")
        try:
            self._make_folders()
            self._start_server()
            self._disk_watch = DiskWatch(self.data)
            self._disk_watch.start()
            self._pool = WorkerPool(
                self.data / "logs",
                lambda: {**os.environ, **self.environ},
                grace=self._grace,
                supervise=self._supervise,
            )
            self._pool.launch(launched)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Drain the workers for ``grace`` seconds, end them, then the server. Idempotent."""
        if self._announced:
            shared.withdraw(self.data)
            self._announced = False
        if self._pool is not None:
            self._pool.stop()
            self._pool = None
        if self._disk_watch is not None:
            self._disk_watch.stop()
            self._disk_watch = None
        if self.valkey is not None:
            self.valkey.stop()
        if self._temporary and self._data is not None:
            shutil.rmtree(self._data, ignore_errors=True)
            REAPER.keep(str(self._data))
            self._data = None

    def start_worker(self, *args: str) -> WorkerProcess:
        """Start one more worker, which takes jobs. ``args`` replace the lanes and slots."""
        if self._pool is None:
            raise MisconfiguredError("the embedded fleet does not run")
        [worker] = self._pool.launch([args or self._args])
        return worker

    @property
    def workers(self) -> list[WorkerProcess]:
        """All workers, dead or alive."""
        return list(self._pool.members) if self._pool else []

    @staticmethod
    def attach(data: Path) -> shared.SharedFleet | None:
        """Join the fleet that already runs on a folder; None where none does."""
        return shared.join(data)

    def _make_folders(self) -> None:
        if self._data is None:
            self._data = Path(tempfile.mkdtemp(prefix="speechfleet-"))
            REAPER.remove(str(self._data))
        make_folders(self.data)

    def _require_server(self) -> None:
        """Raise MisconfiguredError here rather than in every worker."""
        _ = self.redis_url

    def _start_server(self) -> None:
        if not self._embedded:
            self._require_server()
            return
        self.valkey = EmbeddedValkey(self.data / "valkey")
        self.valkey.start()
        # The folder's lock is ours: nobody else writes these logs.
        for old in (self.data / "logs").glob("*.log"):
            old.unlink(missing_ok=True)
        shared.announce(self.data, self.redis_url, self.store_url)
        self._announced = True
        if self._supervise:
            self.valkey.keep_alive()


def _worker_args(lanes: Sequence[str] | None, slots: int | None) -> list[str]:
    args = []
    if lanes is not None:
        args += ["--lanes", ",".join(lanes)]
    if slots is not None:
        args += ["--concurrency", str(slots)]
    return args


def open_fleet(
    data: Path | None,
    *,
    workers: int = 1,
    slots: int | None = None,
    lanes: Sequence[str] | None = None,
    sessions: bool = False,
    environ: Mapping[str, str] | None = None,
    store_url: str | None = None,
    timeout: float = 60.0,
) -> EmbeddedFleet | shared.SharedFleet:
    """Join the fleet of a folder, or start it with these workers.

    For commands that need any fleet: many may run at once on one folder. Returns a context
    manager; the exit of the owner waits for the guests. Raises FolderInUse where another fleet
    neither serves nor ends within ``timeout`` seconds.
    """
    fleet = EmbeddedFleet(
        data, workers=workers, slots=slots, lanes=lanes, sessions=sessions, environ=environ,
        store_url=store_url,
    )  # fmt: skip
    end = time.monotonic() + timeout
    while True:
        if data is not None and (joined := shared.join(data)):
            return joined
        try:
            fleet.start()
        except FolderInUse:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)  # It is starting or stopping, which no event tells another process.
        else:
            return fleet
