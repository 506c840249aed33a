"""Backpressure: senders of large bodies are paused while a process holds too many bytes."""

from collections.abc import Mapping

from router.web.server.connection import READ_BYTES, Connection, State

HELD_BODIES = 2  # largest bodies in memory: as many in transfer, and as many again in threads
LARGE_BYTES = 32 * 2**10  # a smaller body is never paused


class Backpressure:
    """The bytes of requests in transfer, and the connections paused for memory."""

    def __init__(self, max_bytes: int, connections: Mapping[int, Connection]) -> None:
        self._max_bytes = max_bytes
        self._connections = connections
        self._paused: list[Connection] = []
        self._pressed: Connection | None = None
        self._held: int | None = None

    def recount(self) -> None:
        """Forget the count of held bytes, which a step of the event loop changes."""
        self._held = None

    def add(self, received: int) -> None:
        if self._held is not None:
            self._held += received

    def applies_to(self, connection: Connection) -> bool:
        """Say whether a connection must pause before it sends more."""
        is_large = connection.incoming.size > LARGE_BYTES and not connection.is_pressed
        return is_large and self._held_bytes() > self._max_bytes

    def pause(self, connection: Connection) -> None:
        self._paused.append(connection)

    def resume(self) -> list[Connection]:
        """Let paused connections continue, and return them: all that fit, else the largest."""
        if not self._paused:
            return []
        self._paused = [each for each in self._paused if each.state is State.PAUSED]
        fit = (self._max_bytes - self._held_bytes()) // READ_BYTES  # each may receive as much before the next look
        if fit > 0:
            resumed, self._paused = self._paused[:fit], self._paused[fit:]
        elif self._paused and (self._pressed is None or not self._pressed.is_pressed):
            # without this exception all of them would wait for the end of one of them
            self._pressed = max(self._paused, key=lambda each: each.incoming.size)
            self._paused.remove(self._pressed)
            resumed = [self._pressed]
        else:
            return []
        for connection in resumed:
            connection.extend_body(is_pressed=fit <= 0)
        return resumed

    def _held_bytes(self) -> int:
        # once in a step: counting costs more than receiving
        if self._held is None:
            sizes = (each.incoming.size for each in self._connections.values() if each.state is not State.RUNNING)
            self._held = sum(sizes)
        return self._held
