"""The embedded Valkey as a real process: what it keeps, and what it stands."""

from __future__ import annotations

import fcntl
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from speechfleet.embedded import EmbeddedValkey
from speechfleet.embedded.append_only_watch import MENDED
from speechfleet.embedded.valkey import find_server
from speechfleet.errors import FolderInUse, MisconfiguredError
from tests.support.free_ports import free_port


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        yield server


def test_keeps_what_it_is_given_and_never_evicts(server: EmbeddedValkey) -> None:
    with client(server.url) as connection:
        settings = connection.config_get("*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["hash-max-listpack-value"] == "2048"
    assert settings["save"] == ""
    assert settings["port"] == "0"


def test_data_and_url_survive_a_kill(server: EmbeddedValkey) -> None:
    url, pid = server.url, server.pid
    with client(url) as connection:
        connection.set("word", "kept")
        server.kill(signal.SIGKILL)
        assert server.wait(60) == -signal.SIGKILL
        server.restart()
        assert server.url == url
        assert server.pid != pid
        assert connection.get("word") == "kept"


def test_restart_of_a_running_server(server: EmbeddedValkey) -> None:
    with client(server.url) as connection:
        connection.set("word", "kept")
        server.restart()
        assert connection.get("word") == "kept"


def test_a_restart_ends_the_watching_of_the_old_process(
    server: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    server.keep_alive()
    [keeper] = (each for each in set(threading.enumerate()) - before if each.name == "keep valkey")
    with caplog.at_level(logging.WARNING):
        server.restart()
        keeper.join(60)
    assert not keeper.is_alive()
    assert caplog.messages == []


OWNER = """
import logging, sys
from pathlib import Path
from speechfleet.embedded import EmbeddedValkey
logging.basicConfig()
server = EmbeddedValkey(Path(sys.argv[1]))
server.start()
server.keep_alive()
print("started", flush=True)
"""


def test_an_owner_that_ends_without_stopping_it_says_nothing(tmp_path: Path) -> None:
    """So does one that is interrupted while it stops its workers."""
    owner = subprocess.run(
        [sys.executable, "-c", OWNER, str(tmp_path / "valkey")],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert (owner.stdout, owner.stderr) == ("started\n", "")


def test_a_folder_has_one_server(server: EmbeddedValkey) -> None:
    other = EmbeddedValkey(server.folder)
    with pytest.raises(FolderInUse, match=r"another fleet runs on .*: commands and .* join it"):
        other.start()
    server.stop()
    other.start()
    assert client(other.url).ping()
    other.stop()


def test_the_folder_stays_taken_while_a_server_outlives_its_owner(tmp_path: Path) -> None:
    """The lock is the server's, so a new one waits for the old one's last write."""
    server = EmbeddedValkey(tmp_path)
    server.start()
    server.kill(signal.SIGSTOP)
    with pytest.raises(FolderInUse):
        EmbeddedValkey(tmp_path).start()
    server.kill(signal.SIGKILL)
    server.wait(60)
    with EmbeddedValkey(tmp_path) as other:
        assert client(other.url).ping()


def test_stop_and_start_are_idempotent(server: EmbeddedValkey) -> None:
    pid = server.pid
    server.start()
    assert server.pid == pid
    server.stop()
    server.stop()
    assert not server.running
    assert server.wait(0) == 0


def test_stops_while_it_is_suspended(server: EmbeddedValkey) -> None:
    server.kill(signal.SIGSTOP)
    server.stop()
    assert server.wait(0) == 0


@pytest.mark.parametrize("name", ["a b", 'quo"te', "per%cent", "back\\slash", "ümläut 語"])
def test_folders_of_any_name(tmp_path: Path, name: str) -> None:
    with EmbeddedValkey(tmp_path / name) as server:
        assert client(server.url).config_get("dir")["dir"] == str(tmp_path / name)


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / ("long" * 40))
    for _ in range(2):
        with server:
            assert client(server.url).ping()
            socket_folder = Path(server.url.removeprefix("unix://")).parent
            assert socket_folder.stat().st_mode & 0o777 == 0o700
        assert not socket_folder.exists()


def test_only_this_user_reaches_the_socket(server: EmbeddedValkey) -> None:
    assert Path(server.url.removeprefix("unix://")).stat().st_mode & 0o777 == 0o700


def test_tcp_asks_for_the_password(tmp_path: Path) -> None:
    port = free_port()
    with EmbeddedValkey(tmp_path, port=port) as server:
        assert client(server.url).ping()
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port, retry=Retry(NoBackoff(), 0)).ping()
        command = subprocess.check_output(["ps", "-o", "args=", str(server.pid)], text=True)
        assert server.url.split("@")[0].removeprefix("redis://:") not in command


def test_says_in_the_servers_words_why_it_did_not_start(tmp_path: Path) -> None:
    manifest = tmp_path / "appendonlydir" / "appendonly.aof.manifest"
    manifest.parent.mkdir()
    manifest.write_text("no manifest\n")
    server = EmbeddedValkey(tmp_path)
    with pytest.raises(MisconfiguredError, match=r"(?s)ended while starting.*manifest"):
        server.start()
    assert not server.running


def test_after_a_full_disk_its_file_is_written_anew(server: EmbeddedValkey) -> None:
    with client(server.url) as connection:
        before = connection.info("persistence")["aof_rewrites"]
        with server.log.open("ab") as log:
            log.write(MENDED + b". The server can write again.\n")
        server.await_whole_file(60)
        assert connection.info("persistence")["aof_rewrites"] > before


def test_the_program_says_so_when_a_disk_has_room_again() -> None:
    """Another wording would go unnoticed until a full disk has spoilt a file."""
    assert MENDED in Path(find_server()).read_bytes()


def test_starts_again_though_a_rewrite_outlives_it_for_a_moment(server: EmbeddedValkey) -> None:
    with client(server.url) as connection:
        connection.set("word", "kept")
        server.kill(signal.SIGKILL)
        server.wait(60)
        lock = (server.folder / "valkey.lock").open("rb+")
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Timer(0.5, lock.close).start()
        server.restart()
        assert connection.get("word") == "kept"
