"""The processes of a server, their memory and CPU time."""

import os
import sys
from pathlib import Path

from bench.tools.server import Server

GUNICORN, ENGINE = b"gunicorn", b"router.engine"


def web_workers(server: Server) -> tuple[int, ...]:
    return children(named(server, GUNICORN)[0])


def named(server: Server, word: bytes) -> tuple[int, ...]:
    """Return the processes of a server with `word` in the command line, parents first."""
    found, pending = [], [server.process.pid]
    while pending:
        pending += children(pending[0])
        found.append(pending.pop(0))
    with_word = tuple(pid for pid in found if word in Path(f"/proc/{pid}/cmdline").read_bytes())
    if not with_word:
        sys.exit(f"the server has no process of {word.decode()}")
    return with_word


def children(pid: int) -> tuple[int, ...]:
    tasks = os.listdir(f"/proc/{pid}/task")
    return tuple(
        int(child) for task in tasks for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
    )


def cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Return the resident memory of a process in bytes; shared memory counts fully."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def own_memory(pid: int) -> int:
    """Return the proportional memory (PSS) of a process in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
