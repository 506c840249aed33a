"""Permissions in the data folder: for its user, and for a permitted group."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import data_url, png, stored, with_image
from support.patience import until

from router.engine import encoder
from router.engine.retention import Retention
from router.engine.worker import Worker
from router.settings import Settings
from router.system import assemble
from router.web import create_app


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return the settings of a data folder that is not there yet."""
    shutil.rmtree(settings.data)
    return settings


@pytest.fixture(params=[0o000, 0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield int(request.param)
    os.umask(before)


def modes(data: Path) -> dict[str, int]:
    """Return the permissions of everything in a folder, and its own under '.'."""
    return {str(path.relative_to(data)): stat.S_IMODE(path.stat().st_mode) for path in (data, *data.rglob("*"))}


def used(settings: Settings) -> dict[str, int]:
    """Make and fetch a video of an image, sweep, and return all permissions."""
    system = assemble(settings, plugins=[encoder])
    client = create_app(system).test_client()
    body = {"model": "image", "input": with_image("a", data_url(png())), "background": True}
    job = stored(system, client.post("/v1/responses", json=body))
    worker = Worker(system, "cpu")
    assert worker.run_one(job.id)
    until(lambda: client.get(f"/v1/responses/resp_{job.id}").json["status"] == "completed")
    assert client.get(f"/v1/videos/video_{job.id}/content?variant=thumbnail").status_code == 200
    system.artifacts.put_preview("f" * 32, b"a picture")
    system.archive.keep_reserve()
    assert Retention(system).sweep() is not None
    return modes(settings.data)


def test_what_we_make_is_its_user_s_alone_whatever_the_umask(settings: Settings, umask: int) -> None:
    found = used(settings)

    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}
    assert {"jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm", "waiting.lock", "sweep.lock", "reserve"} <= set(found)


def test_a_folder_that_is_open_to_its_group_lets_it_see_results_and_nothing_else(
    settings: Settings, umask: int
) -> None:
    settings.data.mkdir()
    settings.data.chmod(0o750)
    found = used(settings)

    shared = {name for name, mode in found.items() if mode & 0o070}
    results = {name for name in found if name == "videos" or name.startswith("videos/")}
    assert len(results) == 4
    assert shared == ({".", *results} if umask & 0o040 == 0 else {"."})
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o007} == {}
    assert all(found[name] & 0o050 == 0o050 for name in shared & {".", "videos"})


def test_the_operator_s_own_folder_keeps_its_permissions(settings: Settings) -> None:
    settings.data.mkdir()
    settings.data.chmod(0o2755)
    found = used(settings)

    assert oct(found.pop(".")) == oct(0o2755)
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o007} == {}
