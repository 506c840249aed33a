"""Counters in files: summed over processes, continued after them, safe on a full disk."""

import multiprocessing
import os
import signal
from pathlib import Path
from threading import Thread

import pytest
from support.prometheus import Scraped

from registry import Input
from router.jobs import ClaimRequest
from router.metrics import Metrics, page
from router.metrics.definitions import DEFINITIONS, Kind
from router.metrics.tally import MARGIN, keys
from router.system import System
from router.values import Failure, Job, Phase, Task, Usage

USED = b"\x10\x27\0\0" + bytes(4)  # says that 10,000 bytes follow


def scrape(system: System) -> Scraped:
    return Scraped(page(system.metrics.folder, system.jobs, system.engines, system.ledger, (), 0).decode())


def sets(system: System) -> set[str]:
    return {path.name for path in system.metrics.folder.glob("*.lock")}


def count(metrics: Metrics, times: int) -> None:
    for _ in range(times):
        metrics.answered(404, "not_found")
        metrics.step_done("text", 0.2)


def count_and_end(data: Path, times: int, kill: bool) -> None:
    """Run the life of a process."""
    count(Metrics(data), times)
    if kill:
        os.kill(os.getpid(), signal.SIGKILL)


def live(system: System, times: int, *, kill: bool = False) -> None:
    """Let another process count, and end."""
    process = multiprocessing.get_context("fork").Process(
        target=count_and_end, args=[system.settings.data, times, kill]
    )
    process.start()
    process.join()


def test_processes_add_up(system: System) -> None:
    others = [Metrics(system.settings.data), Metrics(system.settings.data)]
    for metrics, times in zip((system.metrics, *others), (1, 3, 5), strict=True):
        count(metrics, times)

    scraped = scrape(system)
    assert scraped.value("framegate_refusals_total", code="not_found") == 9
    assert scraped.value("framegate_step_seconds_bucket", model="text", le="0.25") == 9
    assert scraped.value("framegate_step_seconds_bucket", model="text", le="0.1") == 0
    assert scraped.value("framegate_step_seconds_sum", model="text") == pytest.approx(9 * 0.2)
    assert sets(system) == {"1.lock", "2.lock", "3.lock"}


@pytest.mark.parametrize("kill", [True, False])
def test_a_process_goes_on_where_a_dead_one_stopped(system: System, kill: bool) -> None:
    for _ in range(3):
        live(system, 2, kill=kill)

    assert scrape(system).value("framegate_refusals_total", code="not_found") == 3 * 2
    assert scrape(system).value("framegate_step_seconds_count", model="text") == 3 * 2
    assert sets(system) == {"1.lock"}


def test_threads_lose_no_count(system: System) -> None:
    threads = [Thread(target=lambda: [system.metrics.answered(200, None) for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert scrape(system).value("framegate_requests_total", status="2xx") == 8 * 500


def test_nothing_is_written_before_there_is_something_to_count(system: System) -> None:
    assert not system.metrics.folder.exists()
    assert scrape(system).totals() == {}


def test_a_file_grows_with_its_labels_and_has_room_for_all_of_them(system: System) -> None:
    for number in range(40):
        for phase in Phase:
            system.metrics.phase_ended(f"{'a-model-with-a-long-name' * 5}-{number:08d}", phase, 1.0)

    (file,) = system.metrics.folder.glob("histogram_*.db")
    assert scrape(system).value("framegate_phase_seconds_count") == 40 * 4
    assert file.stat().st_size > 2 * 64 * 1024
    assert file.stat().st_blocks * 512 >= file.stat().st_size  # no holes: to write into one may kill the process


def test_the_margin_holds_the_largest_metric() -> None:
    labels = {one: tuple("x" * 128 for _ in one.labels) for one in DEFINITIONS if one.kind is not Kind.GAUGE}

    assert max(sum(len(key) + 32 for key in keys(one, values)) for one, values in labels.items()) < MARGIN


def test_what_cannot_be_written_is_logged_and_harms_nobody(system: System, caplog: pytest.LogCaptureFixture) -> None:
    system.metrics.folder.parent.mkdir(parents=True)
    system.metrics.folder.write_text("a file where a folder should be")
    system.metrics.answered(200, None)

    assert "framegate_requests_total is not counted" in caplog.text


@pytest.mark.parametrize("damage", [b"", USED + bytes(70000), USED + b"\x04\0\0\0nono" + bytes(70000), b"no"])
def test_a_file_that_a_crash_left_broken_is_begun_again_and_spoils_no_page(system: System, damage: bytes) -> None:
    live(system, 1)
    (path,) = system.metrics.folder.glob("counter_*.db")
    path.write_bytes(damage)

    assert scrape(system).value("framegate_refusals_total") == 0
    assert scrape(system).value("framegate_step_seconds_count") == 1
    system.metrics.answered(404, "not_found")
    assert scrape(system).value("framegate_refusals_total") == 1


def test_used_seconds_are_those_of_the_ledger(system: System) -> None:
    system.ledger.add_load("text", 4.5)
    task = Task("a", "", 64, 64, 5, 8, 4, 4.0, None, 3.0, 1, frozenset({Input.TEXT}))
    for n in range(2):
        system.jobs.add(Job(f"{n}" * 32, "me", "text", task))
        claimed = system.jobs.claim("e", ClaimRequest(["text"]))
        assert claimed is not None
        system.jobs.fail(claimed[0], Failure("out_of_memory", "it did not fit"), Usage(1.25))

    assert scrape(system).of("framegate_gpu_seconds_total", model="text") == [
        ({"model": "text", "outcome": "failed"}, 2.5),
        ({"model": "text", "outcome": "load"}, 4.5),
    ]
