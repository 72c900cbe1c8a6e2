"""The HTTP API of the local server: authorization, ephemeral secrets, and phone calls."""
