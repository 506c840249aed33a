"""The addresses of hosts: look-ups with a deadline, and which addresses are public.

The latter after IANA's registries of special-purpose addresses (2026), not after `ipaddress.is_global`, which older
Pythons get wrong. Of IPv6 only global unicast counts, so that what embeds an IPv4 address (mapped, NAT64, Teredo,
6to4) never does.
"""

import socket
import time
from concurrent.futures import Future
from ipaddress import IPv6Network, ip_address, ip_network
from threading import Thread

from router.runtime.fair_slots import Slots

WORK_SECONDS = 2.0

GLOBAL_UNICAST = IPv6Network("2000::/3")

NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's metadata and host agent
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112, which answers for private names
        "192.52.193.0/24",  # AMT, multicast tunnels
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


def is_public(text: str) -> bool:
    """Say whether an IPv4 or IPv6 address is public; raise `ValueError` for other text."""
    address = ip_address(text)
    if address.version == 6 and address not in GLOBAL_UNICAST:
        return False
    return not any(address in network for network in NOT_PUBLIC)


class Deadline:
    """A limit for this thread: `seconds` from now, and `work` seconds of a core."""

    # an honest image of 20 MiB costs a tenth of a second of a core; one that comes a byte a chunk costs minutes

    def __init__(self, seconds: float, *, work: float = WORK_SECONDS) -> None:
        self._end = time.monotonic() + seconds
        self._worked = time.thread_time() + work

    def left(self) -> float:
        """Return the seconds left, above 0; raise `TimeoutError` after the deadline."""
        left = self._end - time.monotonic()
        if left <= 0 or time.thread_time() > self._worked:
            raise TimeoutError
        return left


class Resolver:
    """A resolver of `most` names at a time, half of them one owner's."""

    # each look-up has a thread of its own, as `getaddrinfo` knows no time limit

    def __init__(self, most: int) -> None:
        self._slots = Slots(most, 2 * most, WORK_SECONDS)

    def addresses(self, host: str, port: int, deadline: Deadline, owner: str = "") -> list[str]:
        """Return every address, the best first; raise `OSError` without one, `TimeoutError` at the deadline."""
        if not self._slots.acquire(owner, deadline.left()):
            raise TimeoutError
        found: Future[list[str]] = Future()
        try:
            Thread(target=self._look_up, args=(found, host, port, owner), name="lookup", daemon=True).start()
        except RuntimeError:  # no more threads
            self._slots.release(owner)
            raise
        return found.result(deadline.left())

    def _look_up(self, found: Future[list[str]], host: str, port: int, owner: str) -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.set_result(list(dict.fromkeys(str(answer[4][0]) for answer in answers)))
        except (OSError, UnicodeError) as error:
            found.set_exception(OSError(str(error)))
        finally:
            self._slots.release(owner)
