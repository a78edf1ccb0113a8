"""TLS to Redis and to its Sentinels: the certificates to trust and to show."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import SSLConnection

from speechfleet.errors import MisconfiguredError
from speechfleet.settings import Settings

SCHEMES = ("rediss", "sentinels")
"""The schemes of a URL whose connections are encrypted, those to the Sentinels as well."""

_EXPIRED, _NOT_YET_VALID = 10, 9
_OTHER_HOST = (62, 64)
"""Codes of OpenSSL (x509_vfy.h): a name, an IP address that the certificate does not have."""
_CERTIFICATE_REFUSED = ("CERTIFICATE_REQUIRED", "UNKNOWN_CA", "CERTIFICATE_EXPIRED",
                        "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "HANDSHAKE_FAILURE")  # fmt: skip
"""Parts of the names of alerts with which a server refuses a client's certificate."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING")


class TlsConnection(SSLConnection):
    """A connection that reads its certificates each time it is opened: files may be renewed."""

    async def _connect(self) -> None:
        self.ssl_context.context = None
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py


def uses_tls(url: str) -> bool:
    """Tell whether connections to this URL are encrypted."""
    return urlsplit(url).scheme in SCHEMES


def tls_options(settings: Settings, url: str) -> dict[str, Any]:
    """Return redis-py's options for the connections of this URL; {} where it is plain.

    The server's certificate and its host name are always checked. Raises MisconfiguredError for
    a file that cannot be read.
    """
    if not uses_tls(url):
        return {}
    files = {
        "ssl_ca_certs": _readable("redis_tls_ca", settings.redis_tls_ca),
        "ssl_certfile": _readable("redis_tls_cert", settings.redis_tls_cert),
        "ssl_keyfile": _readable("redis_tls_key", settings.redis_tls_key),
    }
    given = {name: str(path) for name, path in files.items() if path is not None}
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, **given}


def _readable(setting: str, path: Path | None) -> Path | None:
    if path is not None:
        try:
            path.open("rb").close()
        except OSError as error:
            variable = f"SPEECHFLEET_{setting.upper()}"
            raise MisconfiguredError(f"{variable}={path}: {error.strerror}") from None
    return path


def tls_advice(settings: Settings, url: str) -> str:
    """Say what may be wrong where a connection ends without a word.

    A server that demands a certificate closes the connection, and its reason is often lost; one
    without TLS waits for the rest of a command.
    """
    if not uses_tls(url):
        return ""
    advice = " Does it speak TLS on this port?"
    if settings.redis_tls_cert is None:
        advice += (
            " If it demands a certificate, set SPEECHFLEET_REDIS_TLS_CERT and "
            "SPEECHFLEET_REDIS_TLS_KEY"
        )
    return advice


def tls_failure(error: BaseException) -> str:
    """Say why the two sides did not trust each other; "" where TLS was not the matter."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return _meaning(cause)
        cause = cause.__cause__ or cause.__context__
    return ""


def _meaning(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error)
    reason = error.reason or str(error)
    if any(name in reason for name in _CERTIFICATE_REFUSED):
        return (
            f"it refuses this client's certificate ({reason}): correct "
            "SPEECHFLEET_REDIS_TLS_CERT and SPEECHFLEET_REDIS_TLS_KEY"
        )
    if any(name in reason for name in _NO_TLS):
        return f"it does not speak TLS there ({reason}): is the port right, or the URL's scheme?"
    return f"TLS failed ({reason})"


def _distrust(error: ssl.SSLCertVerificationError) -> str:
    """Say why the server's certificate is not accepted."""
    found = error.verify_message.rstrip(".")
    if error.verify_code == _EXPIRED:
        return "its certificate has expired: renew it on the server"
    if error.verify_code == _NOT_YET_VALID:
        return "its certificate is not valid yet: is this machine's clock right?"
    if error.verify_code in _OTHER_HOST:
        return f"its certificate is for another host ({found}): correct the URL's host"
    return (
        f"its certificate is not signed by a CA that is trusted here ({found}): set "
        "SPEECHFLEET_REDIS_TLS_CA to the file of its CA"
    )
