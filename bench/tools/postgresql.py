"""A private PostgreSQL server whose durable writes reach the disk."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.tools.machine import ROOT


@contextmanager
def postgresql() -> Iterator[Any]:
    """Run a server like those of the tests, with its own defaults of durability."""
    sys.path.append(str(ROOT / "tests"))
    from support.postgresql import Postgres

    server = Postgres(Path(tempfile.gettempdir()), fsync="on", full_page_writes="on", shared_buffers="256MB")
    try:
        server.start()
        yield server
    finally:
        server.close()
