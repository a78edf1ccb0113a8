"""The address of a primary that Sentinel names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

SCHEMES = ("sentinel", "sentinels")
DEFAULT_PORT = 26379


def is_sentinel(url: str) -> bool:
    """Tell whether a URL names Sentinels, not a server."""
    return urlsplit(url).scheme in SCHEMES


@dataclass(frozen=True)
class SentinelAddress:
    """``sentinel://[[user]:password@]host:port[,host:port...]/service[/db]``, taken apart.

    With ``sentinels://`` the connections are encrypted.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: int
    password: str | None
    username: str | None = None

    @classmethod
    def parse(cls, url: str) -> SentinelAddress:
        """Raises ValueError."""
        parts = urlsplit(url)
        service, _, database = parts.path.strip("/").partition("/")
        pairs = [host.partition(":") for host in parts.netloc.rpartition("@")[2].split(",")]
        if not service or not all(host for host, _, _ in pairs):
            raise ValueError("a sentinel URL is sentinel://host:port[,host:port]/service[/db]")
        hosts = tuple((host, int(port or DEFAULT_PORT)) for host, _, port in pairs)
        user, _, password = parts.netloc.rpartition("@")[0].partition(":")
        return cls(
            hosts, service, int(database or 0), unquote(password) or None, unquote(user) or None
        )

    @property
    def login(self) -> dict[str, Any]:
        """The user and the password, as far as they are given."""
        given = {"username": self.username, "password": self.password}
        return {name: value for name, value in given.items() if value}
