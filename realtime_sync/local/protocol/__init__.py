"""The local server's protocol: pure state machines, without sockets, threads or a clock."""
