"""The HTTP half of the API: ephemeral secrets and calls."""
