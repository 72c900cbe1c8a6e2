"""Chat in the terminal, and print the whole conversation at the end.

    python text_chat.py

An empty line ends it.  Set OPENAI_API_KEY, or OPENAI_BASE_URL to the address that
`python -m realtime_sync serve` prints.
"""

import contextlib

import realtime_sync as rt
from realtime_sync.voice import Conversation

with rt.connect(model="gpt-realtime-2.1") as session:
    session.update(output_modalities=["text"], instructions="Be brief.")
    conversation = Conversation(session)  # mirrors the server's conversation
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while prompt := input("You: "):
            session.conversation.item.create(prompt)
            response = conversation.wait_for_response(session.response.create(), timeout=60)
            if response.status == "completed":
                print("Model:", response.text)
            else:
                print(f"({response.status}: {response.reason})")
    print(f"\n{conversation.transcript()}\n\n{conversation.usage.total_tokens} tokens in all.")
