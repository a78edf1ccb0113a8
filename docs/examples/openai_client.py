"""Speak over HTTP with OpenAI's own package."""

from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="sf-...")
with client.audio.speech.with_streaming_response.create(
    model="local", voice="alloy", input="Hello from the fleet.", response_format="wav"
) as speech:
    speech.stream_to_file("hello.wav")  # the bytes flow while they are made
