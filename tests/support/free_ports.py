"""Ports for servers that cannot be told to choose one."""

from __future__ import annotations

import itertools
import os
import socket

FIRST, COUNT = 20_000, 12_000
"""Below the ports that systems choose by themselves, for outgoing connections as well."""
OF_A_PROCESS = 1_000
_places = itertools.count(os.getpid() % OF_A_PROCESS)


def free_port() -> int:
    """Return a port that nobody listens on; never the same one twice in a process.

    Each process of a test run has ports of its own: nobody takes one before it is used.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = FIRST + process * OF_A_PROCESS % COUNT
    while True:
        port = first + next(_places) % OF_A_PROCESS
        if _can_be_bound(port):
            return port


def _can_be_bound(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
