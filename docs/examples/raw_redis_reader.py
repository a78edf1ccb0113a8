"""Read a chunk stream with Redis alone; nothing of speechfleet is needed.

python raw_redis_reader.py MSG_ID hello.pcm
"""

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis

# Longer than a read blocks: redis-py's own time-out is as long.
redis = Redis.from_url(os.environ["SPEECHFLEET_REDIS_URL"], socket_timeout=10)
key = f"speechfleet.1:stream:default:{quote(sys.argv[1], safe='')}:1"
audio, after, kind = bytearray(), b"0", ""
while kind not in ("finished", "failed", "cancelled"):
    streams: Any = redis.xread({key: after}, count=8, block=5000)
    if not streams:
        sys.exit("nothing came: look at the state of the job's record")
    for id, entry in streams[0][1]:
        after, kind = id, entry[b"kind"].decode()
        if kind in ("audio", "rewind"):
            del audio[int(entry[b"offset"]) :]  # what was sent past the offset is void
            audio += entry.get(b"data", b"")
Path(sys.argv[2]).write_bytes(audio)
print(f"{kind}: {len(audio)} bytes of s16le PCM in {sys.argv[2]}")
