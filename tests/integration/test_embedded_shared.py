"""Several processes on one data folder: one owns the fleet, the others join it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from speechfleet.embedded import EmbeddedFleet, SharedFleet
from speechfleet.errors import FolderInUse


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True)


def test_joins_what_runs(tmp_path: Path) -> None:
    assert EmbeddedFleet.attach(tmp_path) is None
    with EmbeddedFleet(tmp_path, workers=0) as fleet:
        with pytest.raises(FolderInUse):
            EmbeddedFleet(tmp_path, workers=0).start()
        joined = EmbeddedFleet.attach(tmp_path)
        assert joined is not None
        with joined:
            assert joined.redis_url == fleet.redis_url
            assert joined.store_url == fleet.store_url
            assert joined.pid == os.getpid()
            assert client(joined.environ["SPEECHFLEET_REDIS_URL"]).ping()
        joined.close()
        assert (tmp_path / "fleet.json").stat().st_mode & 0o777 == 0o600
    assert EmbeddedFleet.attach(tmp_path) is None


def test_an_owner_that_is_done_waits_for_its_guests(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path, workers=0)
    fleet.start()
    joined = EmbeddedFleet.attach(tmp_path)
    assert isinstance(joined, SharedFleet)
    owner = threading.Thread(target=fleet.__exit__, args=(None, None, None))
    owner.start()
    owner.join(0.3)
    assert owner.is_alive()
    assert client(joined.redis_url).ping()
    joined.close()
    owner.join(60)
    assert not owner.is_alive()
    assert EmbeddedFleet.attach(tmp_path) is None


def test_an_owner_that_is_interrupted_does_not(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path, workers=0)
    fleet.start()
    joined = EmbeddedFleet.attach(tmp_path)
    assert joined is not None
    fleet.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    joined.close()
    assert fleet.valkey is not None
    assert not fleet.valkey.running


def test_a_fleet_that_was_killed_is_not_joined(tmp_path: Path) -> None:
    fleet = EmbeddedFleet(tmp_path, workers=0, supervise=False)
    fleet.start()
    assert fleet.valkey is not None
    fleet.valkey.kill()
    fleet.valkey.wait(60)
    assert EmbeddedFleet.attach(tmp_path) is None
    fleet.stop()


def test_many_commands_at_once_share_one_fleet(tmp_path: Path) -> None:
    """Each counts itself, then waits for the others: only one shared server lets them."""
    program = (
        "import redis, sys; from pathlib import Path\n"
        "from speechfleet.embedded import open_fleet\n"
        "with open_fleet(Path(sys.argv[1]), workers=0) as fleet:\n"
        "    client = redis.Redis.from_url(fleet.redis_url, socket_timeout=None)\n"
        "    if client.incr('here') == 4: client.rpush('all here', *'1234')\n"
        "    assert client.blpop('all here', timeout=120)\n"
        "    print(type(fleet).__name__)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = sorted(process.communicate(timeout=180)[0].strip() for process in processes)
    assert said == ["EmbeddedFleet", "SharedFleet", "SharedFleet", "SharedFleet"]
