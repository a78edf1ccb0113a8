"""Amazon Polly's speech endpoint on loopback. It reads the key's id and checks no signature.

    POST /v1/speech    raw PCM, or speech marks
    GET  /v1/voices

https://docs.aws.amazon.com/polly/latest/dg/API_SynthesizeSpeech.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from speechfleet_worker.testing.http_server import HttpServer, Reply, Request
from speechfleet_worker.testing.wire import HTTP_FAULTS, Call, Fault

ERRORS = {
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    429: "ThrottlingException",
    500: "ServiceFailureException",
}
_CREDENTIAL = re.compile(r"Credential=([^/]+)/")
_WORD = re.compile(r"\w+")


class PollyServer(HttpServer):
    """Speaks at 16 kHz. A call for speech marks is in the ledger, too: it is billed."""

    faults: ClassVar[frozenset[str]] = HTTP_FAULTS - {
        "wrong_rate", "malformed_frame", "error_frame",
    }  # fmt: skip

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"sample_rate": 16_000, **settings})

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a worker to this server."""
        return {
            "AWS_ENDPOINT_URL_POLLY": self.url,
            "AWS_ACCESS_KEY_ID": "fake",
            "AWS_SECRET_ACCESS_KEY": "fake",
        }

    async def respond(self, request: Request, reply: Reply) -> None:
        match request.method, request.path:
            case "POST", "/v1/speech":
                body = request.json()
                found = _CREDENTIAL.search(request.headers.get("authorization", ""))
                key = found.group(1) if found else ""
                with self.begin(body, str(body.get("Text", "")), key) as call:
                    await self._speech(call, reply)
            case "GET", "/v1/voices":
                await reply.whole({"Voices": [{"Id": "Joanna"}, {"Id": "Matthew"}]})
            case _:
                await reply.whole(self.error_body(Fault("status", 404)), 404)

    def error_body(self, fault: Fault) -> Mapping[str, Any]:
        return {"message": fault.message}

    async def _speech(self, call: Call, reply: Reply) -> None:
        fault = call.fault
        if fault is not None and fault.kind == "status":
            headers = {"x-amzn-errortype": ERRORS.get(fault.status, "ValidationException")}
            if fault.retry_after:
                headers["retry-after"] = fault.retry_after
            await reply.whole(self.error_body(fault), fault.status, headers=headers)
            return
        if await self.refused(call, reply):
            return
        headers = {
            "x-amzn-requestid": f"req-{len(self.calls)}",
            "x-amzn-requestcharacters": str(call.characters),
        }
        if call.request.get("OutputFormat") == "json":
            call.billed = True
            await reply.whole(self._marks(call.text), 200, "application/x-json-stream", headers)
            return
        reply.start("audio/pcm", headers)
        async for piece in self.pieces(call):
            await reply.write(piece)
        if not call.hit_by("early_end"):
            await reply.finish()

    def _marks(self, text: str) -> bytes:
        lines = []
        for word in _WORD.finditer(text):
            start, end = (len(text[:at].encode()) for at in word.span())
            time = word.start() * self.milliseconds
            mark = {"time": time, "type": "word", "start": start, "end": end}
            lines.append(json.dumps({**mark, "value": word.group()}))
        return "\n".join(lines).encode()
