"""Interrupt an answer: the server, and so the model, is told how much of it was played.

    python interruption.py "Tell me a story."

The played audio is written to played.wav.  Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that
`python -m realtime_sync serve` prints.
"""

import sys

import realtime_sync as rt
from realtime_sync.events import ConversationItemTruncated, ResponseOutputAudioDelta
from realtime_sync.voice import Conversation, FileSpeaker, Playback

PROMPT = " ".join(sys.argv[1:]) or "Tell me a long story, with many people and places in it."

with (
    FileSpeaker("played.wav") as speaker,  # or a Speaker()
    rt.connect(model="gpt-realtime-2.1") as session,
):
    conversation = Conversation(session)
    playback = Playback(session, speaker)
    visitors = rt.Visitors(playback, conversation)
    session.conversation.item.create(PROMPT)
    session.response.create()
    session.run(visitors, until=ResponseOutputAudioDelta, timeout=30)  # the answer begins,
    session.run(visitors, timeout=1)  # and plays for a second

    cut = playback.interrupt()  # as Playback does by itself when the user begins to speak
    if cut is None:
        raise SystemExit("nothing was playing")
    truncated = session.run(visitors, until=ConversationItemTruncated, timeout=30)
    print(f"Of {cut.received_ms / 1000:.1f} s of audio received, {cut.played_ms / 1000:.2f} s were played.")
    print("The server truncated it:", truncated and f"audio_end_ms={truncated.audio_end_ms}")
    print(conversation.transcript())
