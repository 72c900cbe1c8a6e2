"""Answers by any chat-completions endpoint: `ChatResponder`, and the steps on the way to an answer."""
