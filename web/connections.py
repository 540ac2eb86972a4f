"""uvicorn's HTTP protocol with bounds on what a connection may cost.

By itself uvicorn waits without end for the rest of a request's headers, keeps as many of them as
come, reads any number of requests ahead, and holds a connection whose client stopped halfway
through a body after the answer, or never reads its answer. A few hundred such connections would
keep everybody else out (slow loris: https://www.cve.org/CVERecord?id=CVE-2007-6750).

What is relied upon in uvicorn 0.54, `uvicorn/protocols/http/httptools_impl.py`:
- `parser` calls the `on_...` methods of the protocol from within `data_received`, and an
  exception in one of them ends in `send_400_response`.
- `cycle` is the last request whose headers are complete; `pipeline` has those that wait for the
  answer to one before.
- Every complete answer calls `on_response_complete`.
- `data_received` ends the keep-alive time-out, which only an answer starts again.
- `shutdown` and `timeout_keep_alive_handler` close a connection on which no answer is awaited.
"""

from __future__ import annotations

import asyncio
import fcntl
import termios
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from web.connection_limits import ConnectionLimits, OpenConnections
from web.parser import BadRequest, PlainParser

# No browser sends a request before the answer to the last one; a few tools do.
_MOST_WAITING = 32
# For a client to take the answer with which it is refused, or to agree to the end of TLS.
_GOODBYE_S = 2


class GuardedProtocol(HttpToolsProtocol):
    """One connection within the limits; see `guarded_protocol`.

    Attributes:
        limits: of all connections of the class.
        open: counts them.
    """

    limits: ClassVar[ConnectionLimits]
    open: ClassVar[OpenConnections]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = PlainParser(self)  # type: ignore[assignment]
        # A connection handed on to a WebSocket would never come back to be counted.
        self.ws_protocol_class = None
        self._counted_as: str | None = None
        self._in_headers = False
        self._in_body = False
        self._field_bytes = 0
        self._silent_bytes = 0
        self._heard = False
        self._too_much = False
        self._input_deadline: asyncio.TimerHandle | None = None
        self._output_deadline: asyncio.TimerHandle | None = None

    def enter(self, address: str) -> bool:
        """Count the connection as one from this address: for TLS before its handshake.

        Returns:
            Whether it may be; else it does not count.
        """
        self._counted_as = self.open.enter(address)
        return self._counted_as is not None

    def leave(self) -> None:
        """Count it no more."""
        if self._counted_as is not None:
            self.open.leave(self._counted_as)
            self._counted_as = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._counted_as is None and not self.enter(self.client[0] if self.client else ""):
            transport.abort()
            return
        self._expect_input()

    def connection_lost(self, exc: Exception | None) -> None:
        self.leave()
        self._end_input_deadline()
        self._end_output_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._heard = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        # httptools collects a header until it is complete, and tells nothing of the extensions of
        # a chunk. What it says nothing about counts as if it were a header.
        self._silent_bytes = 0 if self._heard else self._silent_bytes + len(data)
        if self._field_bytes + self._silent_bytes > self.limits.header_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif not self._answering and self._input_deadline is None:
            self._expect_input()

    def send_400_response(self, msg: str) -> None:
        if self._too_much:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            self._refuse(HTTPStatus.BAD_REQUEST)

    # What the parser finds

    def on_message_begin(self) -> None:
        self._heard = True
        self._in_headers = True
        self._field_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + len(": \r\n"))
        # uvicorn would add a trailer to the headers, after whoever checked them has looked
        # (https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1).
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._end_input_deadline()
        self._in_headers = False
        self._in_body = True
        if len(self.pipeline) >= _MOST_WAITING:
            raise BadRequest
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._heard = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._heard = True
        self._in_body = False
        # Where the answer came before the end of the body, this was the time for the rest of it.
        self._end_input_deadline()
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._heard = True
        self._field_bytes += size
        if self._field_bytes > self.limits.header_bytes:
            self._too_much = True
            raise BadRequest

    # What is expected of the client

    @property
    def _answering(self) -> bool:
        """Whether a request is being worked on or waits, so that it is not the client's turn."""
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_input(self) -> None:
        limits = self.limits
        seconds = limits.after_answer_s if self._in_body else limits.header_timeout_s
        self._input_deadline = self.loop.call_later(seconds, self._input_is_late)

    def _input_is_late(self) -> None:
        # A connection without a single byte gets no answer, as it asked nothing.
        self._refuse(HTTPStatus.REQUEST_TIMEOUT if self._in_headers else None)

    def _end_input_deadline(self) -> None:
        if self._input_deadline is not None:
            self._input_deadline.cancel()
            self._input_deadline = None

    def _refuse(self, status: HTTPStatus | None) -> None:
        """Close the connection; with this answer, unless another one is under way."""
        if self.transport.is_closing():
            return
        if status and not self._answering:
            line = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            self.transport.write(f"{line}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        self.transport.close()
        # Closing waits for the client to take all that was sent, and 30 seconds for the end of TLS.
        self._end_input_deadline()
        self._input_deadline = self.loop.call_later(_GOODBYE_S, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._expect_reader()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_reader()

    def shutdown(self) -> None:
        taken = not self._unsent
        super().shutdown()
        self._expect_end(taken)

    def timeout_keep_alive_handler(self) -> None:
        taken = not self._unsent
        super().timeout_keep_alive_handler()
        self._expect_end(taken)

    @property
    def _unsent(self) -> bool:
        """Whether the client has not taken all that was written."""
        if self.transport.get_write_buffer_size():
            return True
        # What waits below TLS is not in that size. Then something waits in the system, too.
        try:
            number = self.transport.get_extra_info("socket").fileno()
            return any(fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)))
        except (OSError, ValueError):
            return False

    def _expect_reader(self) -> None:
        """Give the client time to take what is not sent yet, which closing waits for as well."""
        if self.transport.is_closing():
            self._expect_end(taken=False)
            return
        self._end_output_deadline()
        if self.transport.get_write_buffer_size():
            self._output_deadline = self.loop.call_later(
                self.limits.after_answer_s, self._output_is_late
            )

    def _output_is_late(self) -> None:
        # What is not sent yet may also be the beginning of the next answer.
        waiting = self.flow.write_paused or not self._answering
        if waiting and self.transport.get_write_buffer_size():
            self.transport.abort()

    def _expect_end(self, taken: bool) -> None:
        """Where the connection is closing, bound the time for it.

        TLS ends when the client agrees, which one that sleeps or means ill does not do.

        Args:
            taken: whether the client had everything when the closing began.
        """
        if self.transport.is_closing():
            self._end_output_deadline()
            latest = self.loop.time() + (0 if taken else self.limits.after_answer_s)
            self._look_for_end(latest)

    def _look_for_end(self, latest: float) -> None:
        seconds = min(_GOODBYE_S, self.limits.after_answer_s)
        self._output_deadline = self.loop.call_later(seconds, self._end, latest)

    def _end(self, latest: float) -> None:
        if self._unsent and self.loop.time() < latest:
            self._look_for_end(latest)
        else:
            self.transport.abort()

    def _end_output_deadline(self) -> None:
        if self._output_deadline is not None:
            self._output_deadline.cancel()
            self._output_deadline = None


def guarded_protocol(limits: ConnectionLimits) -> type[GuardedProtocol]:
    """The class for `uvicorn.Config(http=...)`; all its connections share the limits."""
    shared = {"limits": limits, "open": OpenConnections(limits)}
    return type("LimitedProtocol", (GuardedProtocol,), shared)
