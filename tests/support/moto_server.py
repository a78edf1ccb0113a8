"""An S3 server of the tests' own: moto in a child process, which ends when the tests do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

BUCKET = "speechfleet"

# It ends with its standard input, so that tests that are killed leave no server behind. moto looks
# for an object and writes it in two steps: without a lock two conditional writes may both succeed.
_PROGRAM = """
import logging, sys, threading
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

def one_at_a_time(name, lock):
    write = getattr(S3Response, name)
    def locked(self, *arguments):
        with lock:
            return write(self, *arguments)
    setattr(S3Response, name, locked)

lock = threading.Lock()
one_at_a_time("_key_response_put", lock)
one_at_a_time("_key_response_post", lock)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


@contextmanager
def moto_server() -> Iterator[str]:
    """Its endpoint URL. Any credentials do; signatures and expiry are not looked at."""
    child = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        port = child.stdout.readline().strip()
        assert port, f"moto did not start: exit status {child.wait(60)}"
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stdin.close()
        child.wait(60)
        child.stdout.close()


def environment(endpoint: str) -> dict[str, str]:
    """What makes boto3 talk to this server and to nothing else."""
    return {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }


def reset(endpoint: str) -> None:
    """Nothing on the server but one empty `BUCKET`."""
    _call(endpoint, "POST", "/moto-api/reset")
    _call(endpoint, "PUT", f"/{BUCKET}")


def _call(endpoint: str, method: str, path: str) -> None:
    connection = HTTPConnection(urlsplit(endpoint).netloc, timeout=180)
    try:
        connection.request(method, path, headers={"Content-Length": "0"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, f"{method} {path}: {answer.status}"
    finally:
        connection.close()
