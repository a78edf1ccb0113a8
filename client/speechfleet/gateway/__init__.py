"""The fleet over HTTP: OpenAI's speech endpoint, jobs, the console, metrics.

app.py          the application put together
serving.py      uvicorn, and what may be bound
access.py       API keys, and who a request is     login.py   the cookie of a browser
security.py     headers, origins, hosts
limits.py       bodies before they are parsed; streams at once
failures.py     errors as HTTP answers, in OpenAI's form
speech.py       /v1/audio/speech        catalogue.py   /v1/models, /v1/audio/voices
jobs.py         /jobs                   events.py      /jobs/{id}/events
audio.py        /jobs/{id}/audio        fleet.py       /fleet, /healthz, /readyz
listening.py    a job's chunks as encoded bytes, for one listener     flow.py   how they are sent
metrics.py      /metrics
console/        the pages

It is a client of the fleet like any other: nothing here knows of Redis or of object stores.
"""

from speechfleet.gateway.app import create_app

__all__ = ["create_app"]
