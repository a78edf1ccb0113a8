"""The client for programs without an event loop.

It holds no logic: each call runs the asynchronous one on a loop in a thread of its own, so one
`Client` may be used from many threads at once. All but `base.py` is generated from the
asynchronous classes by ``make sync``.
"""

from speechfleet.sync.batch import Batch
from speechfleet.sync.client import Client
from speechfleet.sync.job import Job, Speech
from speechfleet.sync.session import Session

__all__ = ["Batch", "Client", "Job", "Session", "Speech"]
