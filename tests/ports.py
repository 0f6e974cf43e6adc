"""Ports for servers that tests start, which nobody else on the machine can take before they listen."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


def reserved(stack: ExitStack, count: int) -> list[int]:
    """Different ports of this machine, given to nobody else until the stack is closed.

    They are bound, and do not listen: so the kernel gives them to nobody who asks for any port or connects to another,
    while a server that names one may listen there, as it also sets SO_REUSEADDR.
    """
    sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("", 0))
    return [one.getsockname()[1] for one in sockets]


@contextmanager
def reserved_port() -> Iterator[int]:
    """One, inside the block."""
    with ExitStack() as stack:
        yield reserved(stack, 1)[0]
