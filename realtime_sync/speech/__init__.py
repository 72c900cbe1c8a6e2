"""What hears and speaks on this machine: recognisers, voices, and detectors of speech."""
