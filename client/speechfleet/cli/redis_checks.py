"""The checks of `doctor` on Redis: is it reachable, and set as a fleet needs it?"""

from __future__ import annotations

from speechfleet.cli.findings import Finding, Verdict
from speechfleet.client import AsyncClient
from speechfleet.ledger.connection import Server
from speechfleet.ledger.rights import missing_rights

CLOCK_SKEW_S = 60.0
"""S3 refuses requests whose clock is 15 minutes off, and links expire by it."""
NEARLY_FULL = 0.8
AUDIO_SHARE = 0.75
"""The part of Redis' memory that audio may fill; the rest is for records and queues."""
TESTED_VERSION = (7,)
"""Older servers, from 6.2 on, are tested less."""


async def examine_redis(client: AsyncClient) -> list[Finding]:
    """Judge the server's version, persistence, eviction, memory, and the user's rights."""
    connection = client.ledger.connection
    await connection.open()
    with connection.errors():
        server = await connection.server()
    findings = [Finding("Redis", Verdict.OK, f"reachable, {server.product}")]
    findings += _configuration(server, client.settings.stream_bytes)
    if missing := await missing_rights(connection):
        found = f"these commands are refused: {', '.join(missing)}"
        mend = "give its user the rights of deploy/redis-users.acl; EVAL needs a server with Lua"
        findings.append(Finding("Redis rights", Verdict.FAILURE, found, mend))
    return findings


async def examine_clock(client: AsyncClient) -> list[Finding]:
    """Compare the server's clock with this machine's."""
    skew = await client.ledger.connection.clock_skew()
    if abs(skew) < CLOCK_SKEW_S:
        return []
    found = f"this machine and Redis differ by {skew:+.0f} s"
    return [Finding("clock", Verdict.WARNING, found, "synchronize the clocks (NTP)")]


def _configuration(server: Server, stream_bytes: int) -> list[Finding]:
    findings = []
    policy, used, limit = server.eviction, server.memory_used, server.memory_limit
    if server.version < TESTED_VERSION:
        mend = "upgrade to Redis 7 or Valkey"
        findings.append(Finding("Redis version", Verdict.WARNING, "older than 7", mend))
    if not server.append_only:
        found = "appendonly is no: a restart loses jobs"
        mend = "set `appendonly yes` and `appendfsync everysec`"
        findings.append(Finding("Redis persistence", Verdict.WARNING, found, mend))
    if policy != "noeviction":
        verdict = Verdict.FAILURE if limit else Verdict.WARNING
        found = f"maxmemory-policy is {policy}: jobs are thrown away where memory is short"
        findings.append(
            Finding("Redis eviction", verdict, found, "set `maxmemory-policy noeviction`")
        )
    if limit and used > NEARLY_FULL * limit:
        found = f"{used >> 20} of {limit >> 20} MB are used"
        mend = "raise `maxmemory`, or lower SPEECHFLEET_STREAM_BYTES or SPEECHFLEET_RECORD_TTL"
        findings.append(Finding("Redis memory", Verdict.WARNING, found, mend))
    elif limit and stream_bytes > AUDIO_SHARE * limit:
        found = (
            f"audio may take {stream_bytes >> 20} MB (SPEECHFLEET_STREAM_BYTES) of the "
            f"{limit >> 20} MB that Redis has"
        )
        mend = "raise `maxmemory`, or lower SPEECHFLEET_STREAM_BYTES"
        findings.append(Finding("Redis memory", Verdict.WARNING, found, mend))
    return findings
