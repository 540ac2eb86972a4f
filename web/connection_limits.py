"""How many connections there may be, and what each may cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from web.admission import client_key


@dataclass(frozen=True)
class ConnectionLimits:
    """What connections may cost.

    Attributes:
        header_timeout_s: for the headers of a request, from the beginning of the connection or
            from the first byte of a later request; before that, for the handshake of TLS.
        header_bytes: of a request's first line and headers, and of its trailers.
        per_client: connections of one client at once; 0 for no limit, as behind a proxy, from
            which all connections come.
        total: connections at once.
        after_answer_s: for what is left to do after an answer: the client reads it, and ends an
            upload that was answered before its end.
    """

    header_timeout_s: float
    header_bytes: int
    per_client: int
    total: int
    after_answer_s: float = 60.0


class OpenConnections:
    """Counts the open connections.

    Attributes:
        clients: their number by client; nobody has none.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self.clients: Counter[str] = Counter()

    def enter(self, address: str) -> str | None:
        """Count one more from this address.

        Returns:
            The client, for `leave`; None where it is one too many, and does not count.
        """
        client, limits = client_key(address), self._limits
        if self.clients.total() >= limits.total:
            return None
        if limits.per_client and self.clients[client] >= limits.per_client:
            return None
        self.clients[client] += 1
        return client

    def leave(self, client: str) -> None:
        """Count one less."""
        self.clients[client] -= 1
        if not self.clients[client]:
            del self.clients[client]
