"""Audio without a session: formats of the wire, conversion, resampling, and WAV files."""
