"""Connections with a deadline, to addresses checked before."""

import ssl
from collections.abc import Iterable, Sequence
from typing import Any

from httpcore2 import SOCKET_OPTION, ConnectError, ConnectTimeout, NetworkBackend, NetworkStream, SyncBackend

from router.media.addresses import Deadline

CONNECT_SECONDS = 5.0
MAX_TRIED = 4  # addresses of a host; a name may have hundreds


class PinnedBackend(NetworkBackend):
    """A network backend that connects to the first of `addresses` to answer."""

    # whatever the host: no name is looked up again, which might now have another address

    def __init__(self, addresses: Sequence[str], deadline: Deadline) -> None:
        self._addresses = addresses
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        failed: Exception = ConnectError("no address")
        for address in self._addresses[:MAX_TRIED]:
            try:
                stream = SyncBackend().connect_tcp(address, port, min(CONNECT_SECONDS, self._deadline.left()))
                return TimedStream(stream, self._deadline)
            except (ConnectError, ConnectTimeout) as error:
                failed = error
        raise failed


class TimedStream(NetworkStream):
    """A stream with one deadline for all its operations."""

    # a time-out for each operation would let a peer drip bytes forever

    def __init__(self, stream: NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        return TimedStream(self._stream.start_tls(ssl_context, server_hostname, self._deadline.left()), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
