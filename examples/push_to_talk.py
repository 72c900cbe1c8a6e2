"""Push to talk: press Enter to speak, and Enter again for the answer.  Ctrl-C ends it.

    python push_to_talk.py
    python push_to_talk.py question.wav answer.wav      without microphone and speaker

The first needs pip install 'realtime-sync[audio]'.  Set OPENAI_API_KEY, or OPENAI_BASE_URL to the
address that `python -m realtime_sync serve` prints.
"""

import contextlib
import sys

import realtime_sync as rt
from realtime_sync.voice import Conversation, FileSpeaker, Microphone, Playback, Speaker
from realtime_sync.voice.audio import stream_file

files = sys.argv[1:]


def listen() -> None:
    """Send the user's turn."""
    if files:
        stream_file(session, files[0])
        return
    input("Enter to speak... ")
    playback.interrupt()  # the model stops when the user speaks
    with Microphone(session):
        input("Enter for the answer... ")


with (
    FileSpeaker(files[1]) if files else Speaker() as speaker,
    rt.connect(model="gpt-realtime-2.1") as session,
    contextlib.suppress(KeyboardInterrupt, EOFError),
):
    session.update(instructions="Be brief.", audio={"input": {"turn_detection": None}})
    playback = Playback(session, speaker)
    conversation = Conversation(session, audio="drop")
    visitors = rt.Visitors(playback, conversation)
    while True:
        listen()
        session.input_audio_buffer.commit()
        asked = session.response.create(when_idle=True)
        response = conversation.wait_for_response(asked, visitor=visitors)
        print(response.text or f"({response.status}: {response.reason})")
        if files:
            break
