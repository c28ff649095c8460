"""The tests themselves cannot reach the network; this machine they can."""

from __future__ import annotations

import socket

import pytest


def test_other_machines_are_refused() -> None:
    with pytest.raises(OSError, match="must not use the network"):
        socket.create_connection(("example.org", 80), timeout=1)
    with socket.socket() as sock, pytest.raises(OSError, match="must not use the network"):
        sock.connect(("192.0.2.1", 80))


def test_this_machine_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()
