"""The socket that the server listens on. It lets so many in and no more, whether they ask for something or not."""

from __future__ import annotations

import socket
from typing import Any


class Door(socket.socket):
    """A listening socket; who comes while ``most`` connections of it are open is hung up on.

    A process may open a thousand files or so, and those who connect and say nothing must not take them from the cameras
    and the sinks. The web server counts requests, not those, and no connection before its TLS handshake.
    """

    def __init__(self, listening: socket.socket, most: int) -> None:
        super().__init__(listening.family, listening.type, listening.proto, listening.detach())
        self._most = most
        self._inside: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            ConnectionAbortedError: there were too many, and it is closed already. Whoever listens goes on.
        """
        connection, address = super().accept()
        self._inside = [one for one in self._inside if one.fileno() >= 0]
        if len(self._inside) >= self._most:
            connection.close()
            raise ConnectionAbortedError("too many connections")
        self._inside.append(connection)
        return connection, address
