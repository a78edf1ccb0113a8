"""Follow the audio of a job while it is made."""

from speechfleet import Client, Msg

with Client.local() as fleet:
    msg = Msg(name="assistant", role="assistant", content="First sentence. And a second one.")
    job = fleet.submit(msg, model="espeak/espeak-ng", voice="en-us")

    for chunk in job.stream():  # live, late or again
        print(f"{len(chunk.audio):>8} bytes so far, {len(chunk.delta)} of them new")

    speech = job.result(timeout=60)
    print(job.id, speech.media_type, f"{speech.duration:.1f} s", speech.url())

    same = fleet.submit(msg, model="espeak/espeak-ng", voice="en-us")  # spoken once
    print(same.status().state, same.result(timeout=60).usage)
