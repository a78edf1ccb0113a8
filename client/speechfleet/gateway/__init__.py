"""The fleet over HTTP: OpenAI's speech endpoint, jobs, the console, metrics.

A request passes, in this order:

connection.py            its connection: limits of the head, time-outs    connection_limits.py
access_log.py            counted and logged, with a request id
security.py              headers of answers; origin and host of requests
key_check.py             API keys (access.py, subprotocols.py) and logins, before the body
body_limit.py            the size of the body
routing.py               paths as they were sent, HEAD, the console's files
*_routes.py              the routes, by subject; context.py: what they are given

batches/                 OpenAI's files and batches
sockets/                 WebSockets: text by pieces, OpenAI's realtime protocol

speech_order.py  voice_aliases.py  offered_models.py  what is asked, as keywords of the client
encoded_stream.py  streaming_response.py  stored_audio.py  byte_range.py               audio out
listeners.py  stream_limit.py                         who listens, and to how many streams
errors.py  error_responses.py                         refusals, and all errors in OpenAI's form
metrics.py  metric_labels.py  readiness.py            what supervisors ask for
app.py  server.py                                     everything put together, and served
console/                                              the pages

The gateway is a client of the fleet like any other: it knows nothing of Redis or object stores.
"""

from speechfleet.gateway.app import create_app

__all__ = ["create_app"]
