"""The embedded fleet: everything on this machine, for as long as this process lives."""

from speechfleet.local.fleet import EmbeddedFleet, default_folder, open_fleet
from speechfleet.local.joining import JoinedFleet
from speechfleet.local.valkey import EmbeddedValkey
from speechfleet.local.worker import WorkerProcess

__all__ = [
    "EmbeddedFleet",
    "EmbeddedValkey",
    "JoinedFleet",
    "WorkerProcess",
    "default_folder",
    "open_fleet",
]
