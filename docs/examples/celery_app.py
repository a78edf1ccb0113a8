"""A Celery application of your own whose tasks speak on the fleet.

celery -A celery_app worker --pool prefork
"""

import os

from celery import Celery
from celery.signals import worker_process_init

from speechfleet import Client

broker = os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/1")
app = Celery("newsletter", broker=broker, backend=broker)
fleet: Client


@worker_process_init.connect  # type: ignore[untyped-decorator]
def open_client(**_: object) -> None:
    """Open one client for each child process of the pool."""
    global fleet  # noqa: PLW0603
    fleet = Client()


@app.task  # type: ignore[untyped-decorator]
def speak(issue: str, text: str) -> str:
    """Speak an issue of the newsletter; the same issue is spoken once."""
    job = fleet.submit(text, id=issue, model="espeak/espeak-ng", voice="en-us", format="mp3")
    return job.result(timeout=60).url()
