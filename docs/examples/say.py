"""Turn a text into a file, on a fleet that this program brings up itself."""

from speechfleet import Client

with Client.local() as fleet:
    speech = fleet.submit("Hello from the fleet.").result(timeout=60)
    speech.save("hello.wav")
    print(f"{speech.duration:.1f} s of speech in hello.wav")
