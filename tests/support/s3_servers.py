"""S3 servers of other hands, each a child process, for the table of servers that work."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support import moto_server
from tests.support.free_ports import free_port

BUCKET = moto_server.BUCKET
START_S = 60
SECRET = "only-the-server-and-we-know"


@contextmanager
def nanio(folder: Path) -> Iterator[dict[str, str]]:
    """A server that checks signatures; what makes boto3 talk to it."""
    port = free_port()
    (folder / BUCKET).mkdir(parents=True)
    command = ["nanio", "serve", "--data-dir", str(folder), "--host", "127.0.0.1",
               "--port", str(port), "--no-access-log"]  # fmt: skip
    keys = {"NANIO_ACCESS_KEY": "test", "NANIO_SECRET_KEY": SECRET}
    with _running(command, port, keys):
        yield _environment(port) | {"AWS_SECRET_ACCESS_KEY": SECRET}


@contextmanager
def localbucket(folder: Path) -> Iterator[dict[str, str]]:
    """A server that checks no signatures and keeps no metadata."""
    port = free_port()
    (folder / BUCKET).mkdir(parents=True)
    command = ["localbucket", "--port", str(port), str(folder)]
    with _running(command, port, {}):
        yield _environment(port)


def _environment(port: int) -> dict[str, str]:
    return moto_server.environment(f"http://127.0.0.1:{port}")


@contextmanager
def _running(command: Sequence[str], port: int, environ: dict[str, str]) -> Iterator[None]:
    program, *arguments = command
    child = subprocess.Popen(
        [str(Path(sys.executable).with_name(program)), *arguments],
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + START_S
        while not _listens(port):
            assert child.poll() is None, f"{program} did not start"
            assert time.monotonic() < end, f"{program} does not listen"
            time.sleep(0.05)
        yield
    finally:
        child.terminate()
        child.wait(60)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
