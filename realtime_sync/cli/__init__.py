"""The commands of the command line, one module each; `realtime_sync.__main__` has their options."""
