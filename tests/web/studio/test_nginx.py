"""The page behind nginx: its policy, a video made, watched and kept."""

from collections.abc import Iterator

import pytest
from support.browser import Studio
from support.edge import behind_nginx

from router.auth.keys import Scope
from router.jobs import ApiKeyStore, Database

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Serve behind nginx, with keys."""
    with behind_nginx(tmp_path_factory.mktemp("nginx"), no_auth=0) as site:
        site.until(lambda: (site.data / "jobs.sqlite").exists())
        studio = Studio(site, ApiKeyStore(Database(site.data / "jobs.sqlite")))
        studio.key = studio.new_key("team", "team")
        studio.admin_key = studio.new_key("boss", "boss", Scope.ADMIN)
        site.ready()
        yield studio
