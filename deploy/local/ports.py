"""Choose ports on this machine."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable

from deploy.local.errors import PlatformError

# Below the range from which the system takes ports for outgoing connections: a port that a process
# gives up while it is restarted is not taken by somebody's connection.
_LOWEST, _HIGHEST = 20_000, 32_000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose(preferred: Iterable[int] = (), taken: Iterable[int] = ()) -> int:
    """The first preferred port that is free, else a free one; never one of `taken`."""
    reserved = set(taken)
    for port in preferred:
        if port not in reserved and is_free(port):
            return port
    for port in random.SystemRandom().sample(range(_LOWEST, _HIGHEST), 200):
        if port not in reserved and is_free(port):
            return port
    raise PlatformError("no free port found between 20000 and 32000: stop what listens there")
