"""How the ranks of a run talk about their own state: one JSON message in a line, over TCP, in a thread of each rank.

Rank 0 is the hub. This is apart from torch.distributed, because it must work when that waits for ever, and because the
system closes a connection when a process dies: the others notice within moments, on whatever machine it ran.
"""

import json
import secrets
import selectors
import socket
from typing import Any, NamedTuple

Message = dict[str, Any]

_LONGEST = 1 << 20


class Address(NamedTuple):
    """Where the hub listens, and the word that lets a rank in."""

    host: str
    port: int
    token: str


class Connection:
    """Sends and receives messages without ever waiting."""

    def __init__(self, connected: socket.socket):
        connected.setblocking(False)
        self.socket, self._received = connected, b""
        self.closed = False

    def send(self, message: Message) -> None:
        """Send; a peer that has not read for so long that the system's buffer is full, is as good as gone."""
        data = json.dumps(message).encode() + b"\n"
        try:
            self.closed = self.closed or self.socket.send(data) < len(data)
        except OSError:
            self.closed = True

    def receive(self) -> list[Message]:
        """The messages that have arrived; sets `closed` after the last one."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        self.closed = self.closed or not data or len(self._received) > _LONGEST
        try:
            messages = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            messages = [None]
        if not all(isinstance(message, dict) for message in messages):  # it does not speak our language
            self.closed = True
            return []
        return messages

    def close(self) -> None:
        self.closed = True
        self.socket.close()


class Spoke:
    """The end of a rank other than 0."""

    def __init__(self, address: Address, rank: int, timeout_s: float):
        self._hub = Connection(socket.create_connection(address[:2], timeout=timeout_s))
        self._hub.send({"token": address.token, "rank": rank})
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._hub.socket, selectors.EVENT_READ)

    def exchange(self, timeout_s: float) -> list[tuple[int, Message | None]]:
        """Wait for messages; each with its rank. None in place of a message is the end of the connection."""
        if self._hub.closed or not self._selector.select(timeout_s):
            return []
        messages: list[tuple[int, Message | None]] = [(0, message) for message in self._hub.receive()]
        if self._hub.closed:
            self._selector.unregister(self._hub.socket)
            messages.append((0, None))
        return messages

    def send(self, message: Message) -> None:
        self._hub.send(message)

    def close(self) -> None:
        self._hub.close()


class Hub:
    """The end of rank 0.

    Args:
        host: the address under which the other ranks find this machine.
    """

    def __init__(self, host: str):
        try:
            family, *_, place = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
            self._server = socket.create_server(place[:2], family=family)
        except OSError:  # the address is that of a router or of another name space
            self._server = socket.create_server(("", 0))
        self._server.setblocking(False)
        self.address = Address(host, self._server.getsockname()[1], secrets.token_hex(16))
        self._ranks: dict[int, Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)

    def exchange(self, timeout_s: float) -> list[tuple[int, Message | None]]:
        """Wait for messages; each with its rank. None in place of a message is the end of the connection."""
        messages: list[tuple[int, Message | None]] = []
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is self._server:
                self._accept()
            else:
                messages += self._receive(key.data)
        return messages

    def _accept(self) -> None:
        try:
            connected, _ = self._server.accept()
        except OSError:
            return
        connection = Connection(connected)
        self._selector.register(connected, selectors.EVENT_READ, connection)

    def _receive(self, connection: Connection) -> list[tuple[int, Message | None]]:
        received = connection.receive()
        rank = next((rank for rank, known in self._ranks.items() if known is connection), None)
        if rank is None and received:
            hello = received.pop(0)
            if secrets.compare_digest(str(hello.get("token")).encode(), self.address.token.encode()):
                rank = int(hello["rank"])
                self._ranks[rank] = connection
            else:  # a stranger
                connection.closed = True
        if connection.closed:
            self._selector.unregister(connection.socket)
            connection.close()
        if rank is None:
            return []
        messages: list[tuple[int, Message | None]] = [(rank, message) for message in received]
        return [*messages, (rank, None)] if connection.closed else messages

    def send(self, message: Message) -> None:
        """To all ranks."""
        for connection in self._ranks.values():
            if not connection.closed:
                connection.send(message)

    def close(self) -> None:
        for connection in self._ranks.values():
            connection.close()
        self._server.close()
