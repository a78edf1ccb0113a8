"""A web app that speaks: GET /speech?text=... streams PCM while it is made.

uvicorn fastapi_app:app
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from speechfleet import AsyncClient, AsyncJob, SpeechFleetError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    async with AsyncClient() as fleet:  # one client for the life of the process
        app.state.fleet = fleet
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/speech")
async def speech(text: str, request: Request) -> StreamingResponse:
    fleet: AsyncClient = request.app.state.fleet
    try:
        job = await fleet.submit(text, model="espeak/espeak-ng", voice="en-us")
    except SpeechFleetError as error:
        raise HTTPException(400, {"code": error.code, "message": error.message}) from None
    return StreamingResponse(audio(job), media_type="audio/pcm", headers={"x-job-id": job.id})


async def audio(job: AsyncJob) -> AsyncGenerator[bytes, None]:
    async for chunk in job.stream(linear=True, accumulate=False):  # never takes audio back
        yield chunk.delta
