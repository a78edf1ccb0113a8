"""The names of keys about tenants: API keys, quotas, webhooks.

speechfleet.1:api-keys                    hash: digest of an API key -> its namespace, scopes
speechfleet.1:quotas                      hash: namespace, or * -> its limits, as JSON
speechfleet.1:quota-sums:<ns>             hash: what its jobs reserve, have used, have stored
speechfleet.1:quota-objects:<ns>          hash: job -> bytes of its audio object
speechfleet.1:quota-recount:<ns>          string: who measures what it has in the store
speechfleet.1:unit-prices                 hash: model or provider -> price of a billed unit
speechfleet.1:webhooks:<ns>               hash: webhook -> its URL, secrets, events, as JSON
speechfleet.1:webhook-namespaces          set: namespaces that have webhooks
speechfleet.1:webhooks-pending            set: webhooks (<ns>/<id>) with events to send
speechfleet.1:webhook-due:<webhook>       zset: jobs and batches by the time of their next try
speechfleet.1:webhook-events:<webhook>    hash: job or batch -> its events, in order
speechfleet.1:webhook-since:<webhook>     zset: job or batch by the time of its first event
speechfleet.1:webhook-counts:<webhook>    hash: events sent, tries that failed, dead letters
speechfleet.1:webhook-dead:<webhook>      list: events that were given up, newest first
"""

from __future__ import annotations

from speechfleet.ledger.key_prefix import PREFIX
from speechfleet.names import encode

TENANT_PATTERNS = {
    "QUOTAS": f"{PREFIX}:quotas",
    "QUOTA_SUMS": f"{PREFIX}:quota-sums:",
    "QUOTA_OBJECTS": f"{PREFIX}:quota-objects:",
    "UNIT_PRICES": f"{PREFIX}:unit-prices",
    "WEBHOOKS": f"{PREFIX}:webhooks:",
    "WEBHOOKS_PENDING": f"{PREFIX}:webhooks-pending",
    "WEBHOOK_DUE": f"{PREFIX}:webhook-due:",
    "WEBHOOK_EVENTS": f"{PREFIX}:webhook-events:",
    "WEBHOOK_SINCE": f"{PREFIX}:webhook-since:",
    "WEBHOOK_COUNTS": f"{PREFIX}:webhook-counts:",
    "WEBHOOK_DEAD": f"{PREFIX}:webhook-dead:",
}
"""Names of the keys in the scripts."""
API_KEYS = f"{PREFIX}:api-keys"
QUOTAS = TENANT_PATTERNS["QUOTAS"]
UNIT_PRICES = TENANT_PATTERNS["UNIT_PRICES"]
WEBHOOKS_PENDING = TENANT_PATTERNS["WEBHOOKS_PENDING"]
WEBHOOK_NAMESPACES = f"{PREFIX}:webhook-namespaces"


def quota_sums(namespace: str) -> str:
    """Name the sums that a namespace's quota is compared with."""
    return TENANT_PATTERNS["QUOTA_SUMS"] + encode(namespace)


def quota_recount(namespace: str) -> str:
    """Name the token of the worker that measures what a namespace has in the store."""
    return f"{PREFIX}:quota-recount:{encode(namespace)}"


def all_quota_sums() -> str:
    """Build the pattern for SCAN over the sums of every namespace."""
    return TENANT_PATTERNS["QUOTA_SUMS"] + "*"


def webhooks(namespace: str) -> str:
    """Name the webhooks of a namespace."""
    return TENANT_PATTERNS["WEBHOOKS"] + encode(namespace)


def webhook_dead(name: str) -> str:
    """Name the dead letters of a webhook."""
    return TENANT_PATTERNS["WEBHOOK_DEAD"] + name


def webhook_due(name: str) -> str:
    """Name the times at which a webhook's events are due."""
    return TENANT_PATTERNS["WEBHOOK_DUE"] + name


def webhook_since(name: str) -> str:
    """Name the times of the first events that wait for a webhook."""
    return TENANT_PATTERNS["WEBHOOK_SINCE"] + name


def webhook_counts(name: str) -> str:
    """Name the counts of what came of a webhook's events."""
    return TENANT_PATTERNS["WEBHOOK_COUNTS"] + name
