"""Speak a file of lines over HTTP with OpenAI's own package: upload, wait, fetch."""

import json
import time
from pathlib import Path

from openai import DefaultHttpxClient, OpenAI

KEY = "sf-..."
TEXTS = {"greeting": "Hello from the fleet.", "farewell": "Goodbye."}

client = OpenAI(base_url="http://127.0.0.1:8080/v1", api_key=KEY)
lines = [
    {
        "custom_id": name,
        "method": "POST",
        "url": "/v1/audio/speech",
        "body": {"model": "local", "voice": "alloy", "input": text, "response_format": "wav"},
    }
    for name, text in TEXTS.items()
]
content = "\n".join(json.dumps(line) for line in lines).encode()
file = client.files.create(file=("lines.jsonl", content), purpose="batch")
batch = client.batches.create(
    input_file_id=file.id,
    endpoint="/v1/audio/speech",  # type: ignore[arg-type] # the package knows OpenAI's own only
    completion_window="24h",
)
while batch.status in ("validating", "in_progress", "finalizing"):
    time.sleep(0.5)
    batch = client.batches.retrieve(batch.id)
if batch.output_file_id is None:
    raise SystemExit(f"{batch.status}: {batch.errors}")

http = DefaultHttpxClient(headers={"authorization": f"Bearer {KEY}"})
for row in client.files.content(batch.output_file_id).text.splitlines():
    line = json.loads(row)
    speech = line["response"]["body"]
    audio = http.get(speech["url"]).content
    Path(f"{line['custom_id']}.{speech['format']}").write_bytes(audio)
    print(f"{line['custom_id']}: {speech['duration']:.1f} s, {len(audio)} bytes")
