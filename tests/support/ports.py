"""Ports for servers of tests."""

import socket


def free_port() -> int:
    """One of 127.0.0.1 that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
