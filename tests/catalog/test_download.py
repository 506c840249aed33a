"""Downloads: progress, the lock, resume, full disks and failing hubs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest
from support.hub import COMMIT, Hub, use
from support.patience import until
from support.server import children

from router.catalog.download import begun, cache_paths, fetching, snapshot
from router.errors import DiskFull, DownloadFailed, EngineError, JobCancelled

ROOT = Path(__file__).parents[2]
REPO = "org/far"
BIG, OTHER, SMALL = "one.safetensors", "two.safetensors", "config.json"
SIZE = 1_000_000
TOTAL = 2 * SIZE + 2

pytestmark = pytest.mark.slow


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "repo"
    folder.mkdir()
    for name in (BIG, OTHER):
        (folder / name).write_bytes(os.urandom(SIZE))
    (folder / SMALL).write_text("{}")
    (folder / "pickle.bin").write_bytes(b"evil")
    hub = Hub(REPO, folder)
    yield hub
    hub.close()


@pytest.fixture(autouse=True)
def cache(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(hub, tmp_path / "hf", monkeypatch)


class Fetch(Thread):
    """`snapshot` in a thread, with what it reported and how it ended."""

    def __init__(self, repo: str = REPO, stall_seconds: float = 60) -> None:
        super().__init__(daemon=True)
        self.repo = repo
        self.stall_seconds = stall_seconds
        self.seen: list[tuple[int, int]] = []
        self.cancelled = Event()
        self.folder: Path | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.folder = snapshot(self.repo, None, self.report, self.stall_seconds)
        except (EngineError, JobCancelled) as error:
            self.error = error

    def report(self, done: int, total: int) -> None:
        self.seen.append((done, total))
        if self.cancelled.is_set():
            raise JobCancelled("cancelled")

    def end(self) -> Fetch:
        self.join(60)
        assert not self.is_alive()
        return self

    def failure(self) -> str:
        assert isinstance(self.end().error, DownloadFailed), self.error
        return str(self.error)


def halfway(fetch: Fetch) -> int:
    """Wait until the slow files are here by half; return the bytes that are."""
    until(lambda: fetch.seen and fetch.seen[-1][0] >= SIZE)
    return fetch.seen[-1][0]


def downloads() -> list[psutil.Process]:
    return children("router.catalog.download", psutil.Process())


def unfinished() -> list[Path]:
    return list(cache_paths.blobs(REPO).glob("*incomplete"))


def give_up(hub: Hub) -> str:
    """Download with short pauses in a failing process; return the message."""
    code = f"from router.catalog.download.fetch import fetch; fetch({REPO!r}, None, pauses=(0.01, 0.02))"
    failed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    return failed.stderr.strip().splitlines()[-1]


def test_progress_counts_the_bytes_of_the_whole_snapshot(hub: Hub) -> None:
    hub.slow = {BIG, OTHER}
    fetch = Fetch()
    halfway(fetch)
    hub.go.set()
    seen = fetch.end().seen

    assert fetch.folder is not None
    assert fetch.folder.name == COMMIT
    assert (fetch.folder / BIG).read_bytes() == (hub.folder / BIG).read_bytes()
    assert {total for _, total in seen} <= {1, TOTAL}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (TOTAL, TOTAL)
    assert "pickle.bin" not in hub.asked


def test_everybody_sees_a_download_until_it_ends_or_dies(hub: Hub) -> None:
    hub.slow = {BIG, OTHER}
    assert (fetching(REPO), begun(REPO)) == (None, False)
    fetch = Fetch()
    halfway(fetch)

    assert fetching(REPO).percent == 50
    os.kill(downloads()[0].pid, signal.SIGKILL)
    assert "its process ended with -9" in fetch.failure()
    assert (fetching(REPO), begun(REPO)) == (None, True)


def test_the_second_waits_for_the_first_and_asks_for_nothing(hub: Hub) -> None:
    hub.slow = {BIG, OTHER}
    first = Fetch()
    halfway(first)
    second = Fetch()
    halfway(second)
    hub.go.set()

    assert first.end().folder == second.end().folder is not None
    assert sorted(hub.asked) == sorted([BIG, OTHER, SMALL])
    assert second.seen[-1] == (TOTAL, TOTAL)


def test_one_that_waits_can_be_cancelled_and_the_other_goes_on(hub: Hub) -> None:
    hub.slow = {BIG, OTHER}
    first = Fetch()
    halfway(first)
    second = Fetch()
    halfway(second)
    second.cancelled.set()

    assert isinstance(second.end().error, JobCancelled)
    assert fetching(REPO) is not None
    hub.go.set()
    assert first.end().folder is not None


def test_when_the_first_dies_the_second_goes_on_where_it_was(hub: Hub) -> None:
    hub.slow = {BIG, OTHER}
    first = Fetch()
    halfway(first)
    second = Fetch()
    halfway(second)
    first.cancelled.set()
    until(lambda: len(hub.ranges_of(BIG)) == 2)
    hub.go.set()

    assert second.end().folder is not None
    assert hub.ranges_of(BIG) == [0, SIZE // 2]
    assert second.seen == sorted(second.seen)


def test_two_repositories_come_independently(hub: Hub) -> None:
    """A held-up repository does not delay another, unknown one."""
    hub.slow = {BIG, OTHER}
    first = Fetch()
    halfway(first)

    assert "the hub has no such repository" in Fetch("org/else").failure()
    assert fetching(REPO) is not None
    hub.go.set()
    assert first.end().folder is not None


def test_a_connection_that_breaks_is_taken_up_where_it_was(hub: Hub) -> None:
    hub.cut = {BIG: 300_000}

    assert Fetch().end().folder is not None
    assert hub.ranges_of(BIG) == [0, 300_000]
    assert hub.ranges_of(OTHER) == [0]


def test_a_hub_that_gives_no_ranges_is_asked_for_the_whole_file(hub: Hub) -> None:
    hub.cut, hub.ranges = {BIG: 300_000}, False
    fetch = Fetch().end()

    assert fetch.folder is not None
    assert (fetch.folder / BIG).read_bytes() == (hub.folder / BIG).read_bytes()


def test_a_killed_download_goes_on_with_the_next_try(hub: Hub) -> None:
    hub.slow = {BIG, OTHER}
    fetch = Fetch()
    halfway(fetch)
    os.kill(downloads()[0].pid, signal.SIGKILL)
    fetch.failure()
    hub.go.set()

    assert Fetch().end().folder is not None
    assert hub.ranges_of(BIG) == hub.ranges_of(OTHER) == [0, SIZE // 2]
    assert unfinished() == []


def test_what_a_crash_spoiled_is_fetched_again(hub: Hub) -> None:
    hub.slow = {BIG, OTHER}
    fetch = Fetch()
    halfway(fetch)
    fetch.cancelled.set()
    fetch.end()
    for part in unfinished():
        part.write_bytes(bytes(part.stat().st_size))
    hub.go.set()
    fetch = Fetch().end()

    assert fetch.folder is not None
    assert (fetch.folder / BIG).read_bytes() == (hub.folder / BIG).read_bytes()
    assert hub.ranges_of(BIG) == [0, SIZE // 2, 0]


def test_a_hub_that_stumbles_is_asked_again(hub: Hub) -> None:
    stumbles = [BIG, f"/api/models/{REPO}/revision/main"]

    def refuse(path: str) -> tuple[int, str] | None:
        if path not in stumbles:
            return None
        stumbles.remove(path)
        return 500, ""

    hub.refuse = refuse

    assert Fetch().end().folder is not None
    assert stumbles == []


def test_a_hub_that_stays_broken_is_given_up_and_what_is_here_stays(hub: Hub) -> None:
    hub.refuse = lambda path: (500, "") if path == BIG else None
    said = give_up(hub)

    assert "org/far could not be fetched: the hub answered 500 to the request for one.safetensors" in said
    assert said.endswith("1.0 MB of 2.0 MB are here, and the next try goes on from there")
    hub.refuse = lambda path: None
    assert Fetch().end().folder is not None
    assert hub.asked.count(OTHER) == 1


def test_a_hub_that_hangs_is_given_up(hub: Hub) -> None:
    hub.slow = {BIG}

    assert "the hub did not answer in time" in give_up(hub)
    assert fetching(REPO) is None


def test_a_job_can_be_cancelled_while_the_hub_hangs(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "600")
    hub.slow = {BIG, OTHER}
    fetch = Fetch()
    halfway(fetch)
    fetch.cancelled.set()

    assert isinstance(fetch.end().error, JobCancelled)
    assert downloads() == []
    assert fetching(REPO) is None


def test_a_download_that_stands_still_is_hung(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "600")
    hub.slow = {BIG, OTHER}

    assert "nothing has come for 3 s" in Fetch(stall_seconds=3).failure()


API = f"/api/models/{REPO}/revision/main"


@pytest.mark.parametrize(
    ("path", "status", "code", "said"),
    [
        (API, 401, "RepoNotFound", "the hub has no such repository, or it is private: check the name, or set HF_TOKEN"),
        (API, 403, "GatedRepo", "it is gated: accept its terms on the hub's page of it, and set HF_TOKEN"),
        (API, 403, "", "the hub answered 403 .* set HF_TOKEN to a token that may read it"),
        (BIG, 401, "GatedRepo", "it is gated"),
        (BIG, 404, "EntryNotFound", "the hub answered 404 to the request for one.safetensors"),
    ],
)
def test_a_hub_that_refuses_is_quoted(hub: Hub, path: str, status: int, code: str, said: str) -> None:
    hub.refuse = lambda asked: (status, code) if asked == path else None

    with pytest.raises(DownloadFailed, match=said):
        snapshot(REPO, None, lambda done, total: None)


def test_a_hub_that_is_not_there_cannot_be_reached(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    assert "org/far could not be fetched: the hub cannot be reached" in give_up(hub)


def test_what_is_here_does_not_need_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Fetch().end().folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    assert Fetch().end().folder == folder
    assert "HF_HUB_OFFLINE" in Fetch("org/else").failure()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (BIG, lambda data: data[:-1]),
        (BIG, lambda data: data + b"x"),
        (BIG, lambda data: b"x" + data[1:]),
        (SMALL, lambda data: b"[]"),
    ],
    ids=["short", "long", "other", "other, and small"],
)
def test_a_wrong_file_is_refused_and_does_not_stay(hub: Hub, name: str, wrong: Callable[[bytes], bytes]) -> None:
    hub.serve = lambda path, data: wrong(data) if path == name else data

    assert f"org/far could not be fetched: {name} is not what the hub lists" in give_up(hub)
    right = {hub.digest(other) for other in (BIG, OTHER, SMALL)} - {hub.digest(name)}
    assert {path.name for path in cache_paths.blobs(REPO).iterdir() if "incomplete" not in path.name} <= right
    assert not (cache_paths.repository(REPO) / "snapshots").exists()
    hub.serve = lambda path, data: data
    assert Fetch().end().folder is not None


@pytest.fixture
def little_disk(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put the cache on a file system of 1.5 MB."""
    folder = tmp_path / "little"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "none", folder], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    use(hub, folder, monkeypatch)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_weights_that_do_not_fit_are_not_begun(hub: Hub, little_disk: Path) -> None:
    with pytest.raises(DiskFull, match=r"needs 2.0 MB more in the hub's cache, where 1.5 MB are free: make room"):
        snapshot(REPO, None, lambda done, total: None)
    assert hub.asked == []


def test_a_disk_that_fills_up_is_said_and_nothing_half_stays(hub: Hub, little_disk: Path) -> None:
    (hub.folder / OTHER).unlink()
    hub.slow = {BIG}
    fetch = Fetch()
    until(lambda: fetch.seen and fetch.seen[-1][0] >= SIZE // 2)
    (little_disk / "another").write_bytes(bytes(shutil.disk_usage(little_disk).free))
    hub.go.set()

    assert isinstance(fetch.end().error, DiskFull), fetch.error
    assert "the disk is full: org/far did not fit into" in str(fetch.error)
    assert unfinished() == []
    (little_disk / "another").unlink()
    assert Fetch().end().folder is not None


@pytest.mark.parametrize("digest", ["../../../evil", "/tmp/evil", "", "A" * 64, "0" * 63, "0" * 64 + "\n", "..\\evil"])
def test_a_digest_that_is_none_names_no_file_here(hub: Hub, tmp_path: Path, digest: str) -> None:
    hub.list = lambda file: {**file, "lfs": {"size": SIZE, "sha256": digest, "pointerSize": 134}}
    before = set(tmp_path.rglob("*"))
    with pytest.raises(DownloadFailed, match=r"org/far could not be fetched: the hub lists .* which is none"):
        snapshot(REPO, None, lambda done, total: None)

    assert hub.asked == []
    assert not [path for path in set(tmp_path.rglob("*")) - before if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("name", ["../../../evil.json", "/evil.json", "a/../../../../evil.json", "..\\evil.json"])
def test_a_file_of_the_hubs_stays_in_its_snapshot(hub: Hub, tmp_path: Path, name: str) -> None:
    hub.list = lambda file: {**file, "rfilename": name} if file["rfilename"] == SMALL else file
    before, deadline = set(tmp_path.rglob("*")), time.monotonic() + 3

    def tried_twice(done: int, total: int) -> None:
        if time.monotonic() > deadline:  # a file that is not to be had is tried for half a minute
            raise JobCancelled("enough")

    with suppress(DownloadFailed, JobCancelled):
        snapshot(REPO, None, tried_twice)
    made = [path for path in set(tmp_path.rglob("*")) - before if "evil" in path.name]

    assert all(path.is_relative_to(tmp_path / "hf" / "hub" / "models--org--far" / "snapshots") for path in made)
    assert not Path("/evil.json").exists()
