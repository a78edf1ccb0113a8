"""The Celery application that Flower shows: ``celery -A speechfleet_worker.flower flower``.

Flower gets the broker's URL from here, in Celery's own spelling: a Unix socket and Sentinel are
spelled otherwise in SPEECHFLEET_REDIS_URL.
"""

from __future__ import annotations

from speechfleet.settings import Settings
from speechfleet_worker.celery_app import make_app

app = make_app(Settings.load(), [], events=True)
