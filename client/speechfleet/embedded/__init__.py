"""The embedded fleet: server, store and workers on this machine, started by this process."""

from speechfleet.embedded.data_folder import default_folder
from speechfleet.embedded.fleet import EmbeddedFleet, open_fleet
from speechfleet.embedded.shared import SharedFleet
from speechfleet.embedded.valkey import EmbeddedValkey
from speechfleet.embedded.worker_process import WorkerProcess

__all__ = [
    "EmbeddedFleet",
    "EmbeddedValkey",
    "SharedFleet",
    "WorkerProcess",
    "default_folder",
    "open_fleet",
]
