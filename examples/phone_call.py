"""Answer the phone: a web server that OpenAI informs, by a webhook, of each incoming call.

Set OPENAI_API_KEY and OPENAI_WEBHOOK_SECRET, run it with `flask --app phone_call run`, and point your
project's webhook for realtime.call.incoming at its /webhook.
"""

import threading

import realtime_sync as rt
from realtime_sync.webhooks import RealtimeCallIncoming

try:
    from flask import Flask, request
except ImportError:
    raise SystemExit("this example needs Flask: pip install flask") from None

app = Flask(__name__)
client = rt.Client()


class Listener(rt.Visitor[None]):
    def visit_response_output_audio_transcript_done(
        self, event: rt.events.ResponseOutputAudioTranscriptDone
    ) -> None:
        print("the model said:", event.transcript)


def talk(call_id: str) -> None:
    with client.connect(call_id=call_id) as session:
        session.response.create(instructions="Greet the caller, and ask what you can do for them.")
        session.run(Listener())  # until the caller hangs up


@app.post("/webhook")
def webhook() -> tuple[str, int]:
    try:
        event = rt.webhooks.unwrap(request.get_data(), request.headers)
    except rt.InvalidWebhookSignature as error:
        return f"{error}\n", 400
    if isinstance(event, RealtimeCallIncoming):
        call_id = event.data.call_id
        try:
            client.calls.accept(call_id, model="gpt-realtime-2.1", instructions="Be brief.")
        except rt.APIError as error:  # the caller has hung up, or this webhook is a repeated one
            print(call_id, error)
        else:  # in a thread, because the call is connected once this request is answered
            threading.Thread(target=talk, args=[call_id], name=call_id).start()
    return "", 200
