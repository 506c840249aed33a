"""How many connections a web process can hold: each is an open file, and so much else is."""

from __future__ import annotations

import resource

from router.settings import Settings

MOST_CONNECTIONS = 4096  # of those who have sent up to 64 KiB each
FILES_A_THREAD = 4  # of the store, its log, an input and a video


def connections_of(settings: Settings) -> int:
    """Let this process open as many files as it may, and return how many connections that leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + FILES_A_THREAD * settings.threads
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(settings.threads // 2, min(MOST_CONNECTIONS, max(soft, most) - FILES_A_THREAD * settings.threads))
