"""Cut an answer off in the middle: the server learns how much of it was heard, and so does the model.

    python interruption.py "Tell me a story."

What was heard is in heard.wav.  Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that
`python -m realtime_sync serve` prints.
"""

import sys

import realtime_sync as rt
from realtime_sync.events import ConversationItemTruncated, ResponseOutputAudioDelta
from realtime_sync.voice import Conversation, FileSpeaker, Playback

PROMPT = " ".join(sys.argv[1:]) or "Tell me a story, of the length that stories used to have."

with (
    FileSpeaker("heard.wav") as speaker,  # or a Speaker()
    rt.connect(model="gpt-realtime-2.1") as session,
):
    conversation = Conversation(session)
    playback = Playback(session, speaker)
    visitors = rt.Visitors(playback, conversation)
    session.conversation.item.create(PROMPT)
    session.response.create()
    session.run(visitors, until=ResponseOutputAudioDelta, timeout=30)  # it begins to speak,
    session.run(visitors, timeout=1)  # and we listen for a second

    cut = playback.interrupt()  # as Playback does by itself when the user begins to speak
    if cut is None:
        raise SystemExit("there was nothing to interrupt")
    told = session.run(visitors, until=ConversationItemTruncated, timeout=30)
    print(f"{cut.received_ms / 1000:.1f} s of the answer had come; {cut.played_ms / 1000:.2f} s were heard.")
    print("The server was told:", told and f"audio_end_ms={told.audio_end_ms}")
    print(conversation.transcript())
