"""One Framegate behind nginx for all tests that only read."""

from collections.abc import Iterator

import pytest
from support.edge import Site, behind_nginx


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    quick = {"silent_seconds": 0.5, "pad_seconds": 0.1, "leave_seconds": 0.3, "workers": 1}
    with behind_nginx(tmp_path_factory.mktemp("site"), {"rate=50r/s": "rate=1000r/s"}, **quick) as running:
        running.ready()
        yield running
