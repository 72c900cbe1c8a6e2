"""A phone number that the model answers, by way of Twilio's Media Streams.  It needs flask-sock.

Set OPENAI_API_KEY, run `flask --app twilio_bridge run`, and have your number's webhook go to its /call."""

import json
from base64 import b64decode, b64encode
from contextlib import suppress
from threading import Thread

from flask import Flask, Response, render_template_string
from flask_sock import Server, Sock  # type: ignore[import-untyped]

import realtime_sync as rt
from realtime_sync.voice import ClockedSpeaker, Playback

TWIML = '<Response><Connect><Stream url="wss://{{ request.host }}/sound"/></Connect></Response>'
app = Flask(__name__)
sock = Sock(app)


class Caller(ClockedSpeaker):  # Twilio plays what it gets at once, so the clock tells how much was heard
    def __init__(self, twilio: Server, stream: str) -> None:
        super().__init__("audio/pcmu")
        self.twilio, self.stream = twilio, stream

    def write(self, audio: bytes) -> None:
        super().write(audio)
        media = {"payload": b64encode(audio).decode()}
        self.twilio.send(json.dumps({"event": "media", "streamSid": self.stream, "media": media}))

    def clear(self) -> None:
        super().clear()
        self.twilio.send(json.dumps({"event": "clear", "streamSid": self.stream}))


@app.post("/call")  # anyone can post here: check X-Twilio-Signature before you leave it running
def call() -> Response:
    return Response(render_template_string(TWIML), mimetype="text/xml")


@sock.route("/sound")  # type: ignore[untyped-decorator]
def sound(twilio: Server) -> None:
    with suppress(rt.ConnectionClosed), rt.connect(model="gpt-realtime-2.1") as session:
        session.update(audio={side: {"format": {"type": "audio/pcmu"}} for side in ("input", "output")})
        session.response.create(instructions="Greet the caller.")
        while (msg := json.loads(str(twilio.receive())))["event"] != "stop":
            if msg["event"] == "start":
                Thread(target=session.run, args=[Playback(session, Caller(twilio, msg["streamSid"]))]).start()
            elif msg["event"] == "media":
                payload = "".join(msg["media"]["payload"].split()).rstrip("=")
                try:  # not everything that speaks Twilio's protocol pads its base64
                    audio = b64decode(payload + "=" * (-len(payload) % 4), "-_", validate=True)
                    session.input_audio_buffer.append(audio)
                except ValueError as error:
                    app.logger.warning("skipped a chunk of audio: %s: %.40r", error, payload)
