"""Report a failure in a job's record: provider, attempt and address named, secrets struck out."""

from __future__ import annotations

from speechfleet.errors import ProviderError, ProviderUnavailable, SpeechFleetError
from speechfleet.provider_values import printable
from speechfleet.record import Record
from speechfleet.settings import Settings
from speechfleet_worker.synthesis.model_driver import redact

LONGEST_MESSAGE = 1000
"""Characters of an error's message in a record."""


def failure_report(
    error: SpeechFleetError, record: Record, settings: Settings, *, attempt: int = 1
) -> tuple[str, str]:
    """Return code and message of an error; secrets are struck out last, of everything.

    ``attempt``: which one failed, counted since the last new segment.
    """
    message, provider = error.message, record.request.provider
    if isinstance(error, ProviderError):
        message = f"{provider}: {message}"
        details = [error.provider_code]
        details += [f"request id {error.request_id}" if error.request_id else ""]
        message += "".join(f" [{detail}]" for detail in details if detail)
    if attempt > 1:
        message += f" (attempt {attempt} of {settings.max_attempts})"
    if provider in settings.endpoints and isinstance(error, ProviderUnavailable):
        message += "; its address stands in SPEECHFLEET_ENDPOINTS"
    keys = [endpoint.key_env for endpoint in settings.endpoints.values() if endpoint.key_env]
    message = printable(redact(message, keys), LONGEST_MESSAGE)
    return printable(redact(error.code, keys)), message
