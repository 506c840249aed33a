"""`/metrics` of a whole server: totals count every request through deaths and restarts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.jobs import web_workers
from support.prometheus import Scraped
from support.server import Server

pytestmark = pytest.mark.slow

SMALL = "defaults: {width: 64, height: 64, num_frames: 5, frames_per_second: 8, steps: 6, negative_prompt: ''}"
MODELS = f"""
models:
  text: {{backend: still, modality: t2v, {SMALL}}}
  image: {{backend: still, modality: i2v, {SMALL}}}
  slow: {{backend: still, modality: t2v, options: {{step_seconds: 0.1}}, {SMALL}}}
"""
REFUSED, UNKNOWN, JOBS = 30, 10, 8


def send(server: Server, model: str, **video: object) -> dict:
    body = {"model": model, "input": "a", "background": True, "provider_options": {"video": video}}
    return server.call("/v1/responses", body)[1]


def scrape(server: Server) -> Scraped:
    return Scraped(server.fetch("/metrics").decode())


class Watched:
    """A server with totals that may never go back."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._last = scrape(server).totals()

    def look(self) -> Scraped:
        scraped = scrape(self._server)
        now = scraped.totals()
        fewer = {name: (before, now.get(name)) for name, before in self._last.items() if now.get(name, -1) < before}
        assert not fewer
        self._last = now
        return scraped

    def until(self, fits: Callable[[Scraped], bool]) -> Scraped:
        def found() -> Scraped | None:
            scraped = self.look()
            return scraped if fits(scraped) else None

        return self._server.until(found)


def test_the_totals_are_what_was_sent(serve: Callable[..., Server]) -> None:
    server = serve(MODELS, workers=2)
    server.until(lambda: server.log.read_text().count("takes requests") == 2)
    watched = Watched(server)
    with ThreadPoolExecutor(8) as threads:
        refused = [threads.submit(send, server, "image") for _ in range(REFUSED)]
        refused += [threads.submit(send, server, f"nobody-{number}") for number in range(UNKNOWN)]
        sent = [threads.submit(send, server, model) for model in ("text", "slow") for _ in range(JOBS // 2)]
        while not all(each.done() for each in (*refused, *sent)):
            watched.look()
        for each in sent:
            server.finished(each.result())

    scraped = watched.until(lambda scraped: scraped.value("framegate_jobs_finished_total") == JOBS)
    assert scraped.value("framegate_refusals_total", code="modality_mismatch") == REFUSED
    assert scraped.value("framegate_refusals_total", code="model_not_found") == UNKNOWN
    assert scraped.value("framegate_refusals_total") == REFUSED + UNKNOWN
    assert scraped.value("framegate_jobs_accepted_total") == JOBS
    assert scraped.value("framegate_jobs_finished_total", outcome="completed") == JOBS
    assert scraped.value("framegate_queue_seconds_count", model="slow") == JOBS / 2
    assert scraped.value("framegate_phase_seconds_count", phase="step") == JOBS
    assert scraped.value("framegate_step_seconds_count") == JOBS * 5
    assert scraped.value("framegate_loads_total", device="cpu") == 2
    assert scraped.value("framegate_jobs", status="completed") == JOBS
    assert scraped.value("framegate_engine_alive", device="cpu") == 1
    assert len(list((server.data / "metrics").rglob("*.lock"))) == 3  # one each: two web processes and an engine
    for _ in range(20):  # by either of the two
        assert watched.look().value("framegate_refusals_total") == REFUSED + UNKNOWN


def test_nothing_goes_back_when_processes_are_killed(serve: Callable[..., Server]) -> None:
    server = serve(MODELS, workers=2)
    server.until(lambda: server.log.read_text().count("takes requests") == 2)
    watched = Watched(server)
    for _ in range(REFUSED):
        send(server, "image")
    server.finished(send(server, "text"))
    job = send(server, "slow", steps=30)
    server.in_step(job, 3)
    before = watched.look()

    engine, web = server.engine(), web_workers(server)
    engine.kill()
    for worker in web:
        worker.kill()
        worker.wait(10)
        server.until(lambda: scrape(server) is not None)
        watched.look()
    server.finished(job)

    scraped = watched.until(lambda scraped: scraped.value("framegate_jobs_finished_total") == 2)
    assert scraped.value("framegate_refusals_total", code="modality_mismatch") == REFUSED
    assert scraped.value("framegate_jobs_accepted_total") == 2
    assert scraped.value("framegate_queue_seconds_count") == 2  # the second attempt is none of them
    assert scraped.value("framegate_loads_total", model="slow") == 2
    assert scraped.value("framegate_step_seconds_count") > before.value("framegate_step_seconds_count")
    assert len(list((server.data / "metrics").rglob("*.lock"))) == 3


def test_a_restart_goes_on_counting(serve: Callable[..., Server]) -> None:
    server = serve(MODELS, workers=2)
    for _ in range(5):
        send(server, "image")
    server.finished(send(server, "text"))
    before = scrape(server).totals()
    server.stop()
    again = serve(MODELS, workers=1)
    send(again, "image")

    now = scrape(again)
    assert now.value("framegate_refusals_total", code="modality_mismatch") == 6
    assert all(now.totals()[name] >= number for name, number in before.items())
