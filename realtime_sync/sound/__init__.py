"""Audio without a session: formats of the wire, conversion, resampling, WAV and other files."""
