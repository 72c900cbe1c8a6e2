"""The HTTP API of the local server: who may come in, ephemeral secrets, and phone calls."""
