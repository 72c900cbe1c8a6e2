"""The command line.

`main` takes the arguments and returns the exit status.  Each command is one module with its own arguments
(`add_arguments`) and what it does (`run`): `chat`, `talk`, `transcribe` and `serve`.  The others help them.
"""
