"""WebSockets: text in by pieces, and the part of OpenAI's realtime protocol that speaks texts.

connection.py       a WebSocket connection of the server: its limits and its end
admission.py        what a socket is given: the gateway, the caller, the fleet
json_socket.py      messages in and out, with time-outs and sizes
error_messages.py   errors in the form of each protocol
text_config.py      the configuration of a socket for text, and the session that it asks for
text_route.py       `/v1/audio/speech/stream`: reads text, opens and ends utterances
utterance.py        one utterance: a session, and its audio as messages
sentence_events.py  where sentences begin and end in the audio
realtime_route.py   `/v1/realtime`: reads events, answers them
unknown_route.py    any other path
realtime_speech.py  one response: a job, and its audio as events
"""
