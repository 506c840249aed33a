"""The number of connections that a web process's limit of open files allows."""

from __future__ import annotations

import resource

from router.settings import Settings

MAX_CONNECTIONS = 4096  # their buffers of up to 64 KiB are 256 MiB
FILES_A_THREAD = 4  # the store, its log, an input and a video


def max_connections(settings: Settings) -> int:
    """Raise this process's limit of open files, and return the connections it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + FILES_A_THREAD * settings.threads
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(settings.threads // 2, min(MAX_CONNECTIONS, max(soft, limit) - FILES_A_THREAD * settings.threads))
