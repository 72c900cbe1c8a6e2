"""What the local server says: pure state machines, without sockets, threads or a clock."""
