"""What people build on a session: the conversation, tools, audio, playback, and the assistant that joins them."""
