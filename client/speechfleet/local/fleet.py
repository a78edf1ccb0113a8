"""A whole fleet inside one process's lifetime: server, folder store, workers."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from speechfleet.errors import FolderInUse, MisconfiguredError
from speechfleet.local import joining
from speechfleet.local.crew import Crew
from speechfleet.local.guard import GUARD
from speechfleet.local.valkey import EmbeddedValkey
from speechfleet.local.worker import WorkerProcess
from speechfleet.settings import Settings

_LEAVING = 10.0
"""Seconds beyond the workers' own grace: to hand the jobs back and exit."""


class EmbeddedFleet:
    """Valkey, a folder as the object store, and N worker processes; a context manager.

    ``data`` holds all that lasts: ``valkey/``, ``store/``, and ``logs/`` of the last run; a
    fleet started on it again finds its jobs as they were. None: a temporary folder, removed
    at the end. ``slots``, ``lanes``: the workers' ``--concurrency`` and ``--lanes``, each
    left to the worker where None. ``environ`` is added to the workers' environment.
    ``valkey=False``: the server that ``SPEECHFLEET_REDIS_URL`` names. ``store_url``: another
    store. ``supervise``: start again what ends with a status other than 0. ``grace``: seconds
    that `stop` leaves to running jobs; else the setting.

    Everything it started ends with it, also when this process is killed by signal 9.
    """

    def __init__(
        self,
        data: Path | None = None,
        *,
        workers: int = 1,
        slots: int | None = None,
        lanes: Sequence[str] | None = None,
        environ: Mapping[str, str] | None = None,
        valkey: bool = True,
        store_url: str | None = None,
        supervise: bool = True,
        grace: float | None = None,
    ) -> None:
        settings = Settings.load(grace=grace)
        self._temporary = data is None
        self._data = data.absolute() if data is not None else None
        self._count = workers
        self._args = _worker_args(lanes, slots)
        self._added = {**(environ or {}), "SPEECHFLEET_GRACE": f"{settings.grace:g}"}
        self._grace = settings.grace + _LEAVING
        self._supervise = supervise
        self._embedded = valkey
        self._given_redis = settings.redis_url
        self._given_store = store_url
        self._crew: Crew | None = None
        self._announced = False
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
        """What a client or a worker needs, beside its own environment, to be of this fleet."""
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
                stack.enter_context(joining.without_guests(self.data))
                joining.withdraw(self.data)

    def start(self) -> None:
        """Return when every worker takes jobs; no-op if it runs.

        FolderInUse, MisconfiguredError (with the end of a log); nothing is left of a failure.
        """
        if self._crew is not None:
            return
        try:
            self._make_folders()
            self._start_server()
            self._crew = Crew(
                self.data / "logs",
                lambda: {**os.environ, **self.environ},
                grace=self._grace,
                supervise=self._supervise,
            )
            self._crew.launch(self._count, self._args)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Let the workers drain (``grace``), then end them, then the server. Idempotent."""
        if self._announced:
            joining.withdraw(self.data)
            self._announced = False
        if self._crew is not None:
            self._crew.stop()
            self._crew = None
        if self.valkey is not None:
            self.valkey.stop()
        if self._temporary and self._data is not None:
            shutil.rmtree(self._data, ignore_errors=True)
            GUARD.keep(str(self._data))
            self._data = None

    def start_worker(self, *args: str) -> WorkerProcess:
        """One more, ready. ``args`` stand in place of the fleet's lanes and slots."""
        if self._crew is None:
            raise MisconfiguredError("the embedded fleet does not run")
        [worker] = self._crew.launch(1, args or self._args)
        return worker

    @property
    def workers(self) -> list[WorkerProcess]:
        """Those that are there now, dead or alive."""
        return list(self._crew.members) if self._crew else []

    @staticmethod
    def attach(data: Path) -> joining.JoinedFleet | None:
        """The fleet that already runs on this folder, joined; None where none does."""
        return joining.join(data)

    def _make_folders(self) -> None:
        if self._data is None:
            self._data = Path(tempfile.mkdtemp(prefix="speechfleet-"))
            GUARD.remove(str(self._data))
        for folder in (self.data, self.data / "store", self.data / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _start_server(self) -> None:
        if not self._embedded:
            _ = self.redis_url  # Raises here rather than in every worker.
            return
        self.valkey = EmbeddedValkey(self.data / "valkey")
        self.valkey.start()
        # The folder is ours from here on.
        for old in (self.data / "logs").glob("*.log"):
            old.unlink(missing_ok=True)
        joining.announce(self.data, self.redis_url, self.store_url)
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
    environ: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> EmbeddedFleet | joining.JoinedFleet:
    """Join the fleet of this folder, or start it with these workers; ready either way.

    For commands that need a fleet and do not care whose: many may be called at once on one
    folder. A context manager; its owner's exit waits for the guests. FolderInUse where
    another fleet neither serves nor ends within ``timeout`` seconds.
    """
    fleet = EmbeddedFleet(data, workers=workers, slots=slots, lanes=lanes, environ=environ)
    end = time.monotonic() + timeout
    while True:
        if data is not None and (joined := joining.join(data)):
            return joined
        try:
            fleet.start()
        except FolderInUse:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)  # It is starting or stopping, which no event tells another process.
        else:
            return fleet


def default_folder() -> Path | None:
    """Where this user's fleet keeps its data; None where no home can be written to.

    ``$XDG_DATA_HOME/speechfleet``, else ``~/.local/share/speechfleet`` (XDG Base Directory
    Specification).
    """
    base = os.environ.get("XDG_DATA_HOME", "")
    try:
        # The specification: a path that is not absolute is to be ignored.
        home = Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share"
        folder = home / "speechfleet"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
