"""uvicorn's server, with a bound on TLS handshakes and an end that is no failure."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import ssl
from collections.abc import Callable
from types import FrameType

import uvicorn

from web.connection_limits import ConnectionLimits
from web.connections import GuardedProtocol, guarded_protocol

log = logging.getLogger(__name__)

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_EXHAUSTED_S = 1


class TlsDoor:
    """Accepts connections, and counts them from before the handshake on.

    asyncio's own server tells the protocol of a connection after the handshake only, and holds
    any number of those that never begin one.

    Args:
        listener: listens already; is closed by `close`.
        context: with the certificate.
        new_protocol: for one connection.
        limits: the handshake may take as long as the headers of a request.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        new_protocol: Callable[[], GuardedProtocol],
        limits: ConnectionLimits,
    ) -> None:
        self._listener = listener
        self._context = context
        self._new_protocol = new_protocol
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        self._accepting = self._loop.create_task(self._accept())

    async def close(self) -> None:
        """Accept no more, and end the handshakes; connections beyond that stay."""
        for tasks in ({self._accepting}, self._handshakes):
            ending = tuple(tasks)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            try:
                connection, address = await self._loop.sock_accept(self._listener)
            except OSError as error:
                # Others are of one connection, which is gone already.
                if error.errno in _EXHAUSTED:
                    log.warning("no connection could be accepted: %s", error.strerror)
                    await asyncio.sleep(_EXHAUSTED_S)
                continue
            protocol = self._new_protocol()
            if protocol.enter(address[0]):
                task = self._loop.create_task(self._shake_hands(connection, protocol))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)
            else:
                connection.close()

    async def _shake_hands(self, connection: socket.socket, protocol: GuardedProtocol) -> None:
        connected = False
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.header_timeout_s,
                # It runs while the client still takes its answer.
                ssl_shutdown_timeout=self._limits.after_answer_s,
            )
            connected = True
        except OSError:
            # Too late, gone, or no TLS: nothing that the operator could mend.
            log.debug("no TLS handshake", exc_info=True)
        finally:
            if not connected:
                protocol.leave()


class GatewayServer(uvicorn.Server):
    """Serves on one socket until SIGINT or SIGTERM, and returns when all requests are answered.

    Args:
        config: its `http` is replaced.
        limits: of all connections.
        announce: called when requests are answered, and signals end the server cleanly.

    Attributes:
        protocol: of each connection.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        limits: ConnectionLimits,
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        self.protocol = guarded_protocol(limits)
        config.http = self.protocol
        super().__init__(config)
        self._limits = limits
        self._announce = announce
        self._door: TlsDoor | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen on the one of `sockets`."""
        context = self.config.ssl
        if context is None or not sockets:
            await super().startup(sockets)
        else:
            await super().startup(sockets=[])
            self._door = TlsDoor(sockets[0], context, self._new_protocol, self._limits)
        self._announce()

    def _new_protocol(self) -> GuardedProtocol:
        return self.protocol(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, close the idle ones, and wait for the others."""
        if self._door:
            await self._door.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End; by a second SIGINT, without waiting for anybody."""
        # uvicorn's own would end the process by the same signal when all is done, as if killed.
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
