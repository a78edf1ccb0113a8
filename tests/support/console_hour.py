"""An hour of a busy fleet, written into its counts, for the charts of the console."""

from __future__ import annotations

import math
import random
import time
from collections import Counter

from speechfleet import AsyncClient
from speechfleet.ledger import keys
from speechfleet.ledger.activity import BUCKET

MINUTES = 60


async def write_hour(client: AsyncClient) -> None:
    """Write the counts that scripts would have left; the current minute begins anew."""
    rng = random.Random(4)
    call = client.ledger.connection.scripts.call
    now = int(time.time()) // 60
    await call("DEL", f"{keys.minutes(client.namespace)}{now}")
    for back in range(1, MINUTES):
        jobs = max(3, int(40 + 25 * math.sin(back / 9) + rng.gauss(0, 5)))
        counts: Counter[str] = Counter(SUCCEEDED=jobs, audio_ms=jobs * rng.randrange(6000, 9000))
        counts["FAILED"] = rng.choice([0, 0, 0, 0, 1])
        counts["CANCELLED"] = rng.choice([0, 0, 0, 0, 0, 1])
        for _ in range(jobs):
            waited = rng.lognormvariate(math.log(180), 0.5)
            counts[f"first:live:{int(math.log(waited, BUCKET))}"] += 1
        minute = f"{keys.minutes(client.namespace)}{now - back}"
        await call("HSET", minute, *(part for field in counts.items() for part in field))
        await call("EXPIRE", minute, 7200)
