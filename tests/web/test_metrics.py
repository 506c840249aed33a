"""`/metrics`: its counters, its gauges from the store, its readers."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import MODELS
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from support.prometheus import Scraped

from router import Refused, hookimpl
from router.engine import encoder
from router.engine.worker import Worker
from router.metrics.definitions import CODES, DEFINITIONS, Kind
from router.settings import Settings
from router.system import System, assemble
from router.values import EngineState, PartPath, ResidentBytes
from router.web import create_app
from router.web.app import OPERATIONS
from router.web.openapi.operations import Problem
from router.web.openapi.problems import EVERYWHERE

README = Path(__file__).parents[2] / "README.md"
HERE = {"REMOTE_ADDR": "127.0.0.1"}


def scrape(client: FlaskClient) -> Scraped:
    answer = client.get("/metrics")
    assert (answer.status_code, answer.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return Scraped(answer.text)


def value(client: FlaskClient, name: str, **labels: str) -> float:
    return scrape(client).value(name, **labels)


def ask(client: FlaskClient, model: str = "text", **body: Any) -> str:
    answer = client.post("/v1/responses", json={"model": model, "input": "a", "background": True, **body})
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["id"])


def test_every_metric_is_on_the_page_with_its_kind_and_its_meaning(client: FlaskClient) -> None:
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}

    assert [(families[one.family].type, families[one.family].documentation) for one in DEFINITIONS] == [
        (one.kind, one.about) for one in DEFINITIONS
    ]
    assert len(families) == len(DEFINITIONS)


def test_every_metric_is_documented() -> None:
    text = (
        (README.parent / "docs" / "operations.md")
        .read_text()
        .split("<!-- metrics -->")[1]
        .split("<!-- /metrics -->")[0]
    )
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)

    assert rows == [(one.name, one.kind, ", ".join(one.labels), one.about) for one in DEFINITIONS]


def test_names_follow_prometheus_customs() -> None:
    assert all(re.fullmatch("framegate_[a-z_]+", one.name) for one in DEFINITIONS)
    assert all(one.name.endswith("_total") == (one.kind is Kind.COUNTER) for one in DEFINITIONS)
    histograms = [one for one in DEFINITIONS if one.kind is Kind.HISTOGRAM]
    assert all(one.buckets for one in histograms)
    assert [one.name for one in histograms if not one.name.endswith("_seconds")] == [
        "framegate_estimate_error"
    ]  # a share


def test_the_labels_are_those_of_the_definitions(client: FlaskClient, system: System) -> None:
    worker = worked(system, client)
    ask(client)
    worker.run_one()  # the first job of all had no estimate
    client.post("/v1/responses", json={"model": "image", "input": "a"})
    samples = scrape(client)

    for one in DEFINITIONS:
        if one.name in ("framegate_evictions_total", "framegate_model_path"):
            continue  # there was none, and the still backend does not say
        names = {Kind.HISTOGRAM: (f"{one.name}_sum", f"{one.name}_count")}.get(one.kind, (one.name,))
        for name in names:
            assert {tuple(sorted(labels)) for labels, _ in samples.of(name)} == {tuple(sorted(one.labels))}, name


def worked(system: System, client: FlaskClient, **body: Any) -> Worker:
    """Return an engine after one job."""
    ask(client, **body)
    worker = Worker(system, "cpu")
    system.engines.heartbeat(worker._state())
    worker.run_one()
    return worker


def test_jobs_are_counted_by_model_and_status(client: FlaskClient, system: System) -> None:
    ask(client, "text")
    ask(client, "both")
    stopped = ask(client, "both")
    client.post(f"/v1/responses/{stopped}/cancel")
    Worker(system, "cpu").run_one()

    jobs = scrape(client).of("framegate_jobs")
    found = {(labels["model"], labels["status"]) for labels, number in jobs if number == 1}
    assert found == {("text", "completed"), ("both", "queued"), ("both", "cancelled")}
    assert sum(number for _, number in jobs) == 3
    assert {labels["model"] for labels, _ in jobs} == {"text", "image", "both", "ends", "slow", "far"}


def test_a_job_is_counted_where_it_comes_and_where_it_goes(client: FlaskClient, system: System) -> None:
    worked(system, client)
    client.post(f"/v1/responses/{ask(client, 'both')}/cancel")

    assert value(client, "framegate_jobs_accepted_total", model="text") == 1
    assert value(client, "framegate_jobs_finished_total", model="text", outcome="completed") == 1
    assert value(client, "framegate_jobs_finished_total", model="both", outcome="cancelled") == 1
    assert value(client, "framegate_queue_seconds_count", model="text") == 1
    assert value(client, "framegate_queue_seconds_count", model="both") == 0


def test_a_job_that_failed_is_counted_by_its_code(settings: Settings) -> None:
    class Breaks:
        @hookimpl(tryfirst=True)
        def generate(self) -> object:
            raise RuntimeError("secret")

    system = assemble(settings, plugins=[encoder, Breaks()])
    client = create_app(system).test_client()
    worked(system, client)

    assert value(client, "framegate_jobs_finished_total", model="text", outcome="generation_failed") == 1
    assert "secret" not in client.get("/metrics").text


def test_refusals_are_counted_by_code_and_cost_no_row(client: FlaskClient, system: System) -> None:
    for _ in range(3):
        client.post("/v1/responses", json={"model": "image", "input": "a"})
    client.post("/v1/responses", json={"model": "nobody-knows-this", "input": "a"})
    client.get("/v1/nowhere")
    before = system.jobs.newest()
    client.post("/v1/responses", data=b"{", content_type="application/json")

    assert value(client, "framegate_refusals_total", code="modality_mismatch") == 3
    assert value(client, "framegate_refusals_total", code="model_not_found") == 1
    assert value(client, "framegate_refusals_total", code="not_found") == 1
    assert value(client, "framegate_refusals_total", code="invalid_json") == 1
    assert system.jobs.newest() == before
    assert "nobody-knows-this" not in client.get("/metrics").text


def test_requests_are_counted_by_the_class_of_their_status(client: FlaskClient) -> None:
    for path in ("/healthz", "/healthz", "/v1/nowhere", "/readyz"):
        client.get(path)

    assert value(client, "framegate_requests_total", status="2xx") == 2
    assert value(client, "framegate_requests_total", status="4xx") == 1
    assert value(client, "framegate_requests_total", status="5xx") == 1


def test_a_code_of_a_plugin_s_own_is_no_label(settings: Settings) -> None:
    class Policy:
        @hookimpl
        def check_request(self) -> None:
            raise Refused("no", code="my_very_own")

    client = create_app(assemble(settings, plugins=[encoder, Policy()])).test_client()
    client.post("/v1/responses", json={"model": "text", "input": "a"})

    assert value(client, "framegate_refusals_total", code="other") == 1
    assert "my_very_own" not in client.get("/metrics").text


def test_every_code_that_an_error_can_have_is_known() -> None:
    source = "".join(path.read_text() for path in (README.parent / "router").rglob("*.py"))
    raised = set(re.findall(r'code="(\w+)"', source))
    problems: set[Problem] = {problem for route in OPERATIONS for problem in (*route.problems, *EVERYWHERE)}

    assert raised | {problem.code for problem in problems} <= CODES


def test_engines_and_what_they_hold_are_read_from_the_store(client: FlaskClient, system: System) -> None:
    models = ("text", "both", "image")
    memory = {"text": ResidentBytes(700, 300), "both": ResidentBytes(0, 300)}
    state = EngineState("a", "cuda:0", 1, models, ("text", "both"), "a-job", memory=memory, warm=("image",))
    system.engines.heartbeat(state)
    system.engines.heartbeat(replace(state, id="b", device="cuda:1", job=None, resident=(), warm=(), memory={}))
    system.engines.heartbeat(replace(state, id="c", device="cpu"))
    system.engines.retire("c")

    assert [value(client, "framegate_engine_alive", device=one) for one in ("cuda:0", "cuda:1", "cpu")] == [1, 1, 0]
    assert [value(client, "framegate_engine_busy", device=one) for one in ("cuda:0", "cuda:1", "cpu")] == [1, 0, 0]
    assert value(client, "framegate_weights_bytes", device="cuda:0", model="text", held="owned") == 700
    assert value(client, "framegate_weights_bytes", device="cuda:0", model="both", held="shared") == 300
    for model, state_word in (("text", "loaded"), ("image", "warm")):
        states = scrape(client).of("framegate_model_state", device="cuda:0", model=model)
        assert {labels["state"] for labels, is_in in states if is_in} == {state_word}
        assert len(states) == 3
    assert value(client, "framegate_model_state", device="cuda:1", model="text", state="cold") == 1


def test_the_code_by_which_a_model_runs_is_a_metric(client: FlaskClient, system: System) -> None:
    paths = {"text": {"high": PartPath("fast"), "low": PartPath("diffusers", 'norm "q" is foreign')}}
    state = EngineState("a", "cuda:0", 1, ("text", "image"), ("text",), paths=paths)
    system.engines.heartbeat(state)
    system.engines.heartbeat(replace(state, id="b", device="cuda:1", resident=(), paths={}))

    assert sorted(
        (labels["part"], labels["path"], labels["reason"]) for labels, is_so in paths_in(client) if is_so
    ) == [
        ("high", "fast", ""),
        ("low", "diffusers", 'norm "q" is foreign'),
    ]


def paths_in(client: FlaskClient) -> list[tuple[dict[str, str], float]]:
    return scrape(client).of("framegate_model_path", model="text")


def test_an_engine_that_took_the_place_of_another_is_the_one_that_counts(client: FlaskClient, system: System) -> None:
    state = EngineState("a", "cpu", 1, ("text",), (), "a-job")
    system.engines.heartbeat(state)
    system.engines.retire("a")
    system.engines.heartbeat(replace(state, id="b", job=None))

    assert value(client, "framegate_engine_alive", device="cpu") == 1
    assert value(client, "framegate_engine_busy", device="cpu") == 0


def test_systems_of_one_process_do_not_mix(client: FlaskClient, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(MODELS)
    other = create_app(assemble(Settings(data=tmp_path / "other", models=tmp_path / "models.yaml"))).test_client()
    client.get("/v1/nowhere")

    assert value(client, "framegate_refusals_total", code="not_found") == 1
    assert value(other, "framegate_refusals_total", code="not_found") == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_without_a_key_this_machine_may_read_it(client: FlaskClient, address: str) -> None:
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": address}).status_code == 200


@pytest.mark.parametrize("address", ["192.0.2.7", "10.0.0.5", "::ffff:192.0.2.7", "2001:db8::1", ""])
def test_without_a_key_nobody_else_may(client: FlaskClient, address: str) -> None:
    answer = client.get("/metrics", environ_base={"REMOTE_ADDR": address}, headers={"authorization": "Bearer "})

    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "refused")
    assert "FRAMEGATE_METRICS_KEY" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "Via"])
def test_a_proxy_speaks_for_somebody_else(client: FlaskClient, header: str) -> None:
    answer = client.get("/metrics", headers={header: "127.0.0.1"}, environ_base=HERE)

    assert (answer.status_code, answer.get_json()["error"]["type"]) == (403, "permission_error")


@pytest.mark.parametrize("environ", [HERE, {"REMOTE_ADDR": "192.0.2.7"}, {"REMOTE_ADDR": ""}])
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("Bearer a-kéy", 200),
        ("bearer a-kéy", 200),
        ("Bearer another", 403),
        ("Bearer a-ké", 403),
        ("Bearer a-kéyy", 403),
        ("Bearer", 403),
        ("Basic a-kéy", 403),
        ("a-kéy", 403),
        ("", 403),
    ],
)
def test_a_key_is_needed_from_everywhere(system: System, environ: Mapping[str, str], sent: str, status: int) -> None:
    keyed = replace(system, settings=replace(system.settings, metrics_key="a-kéy"))
    client = create_app(keyed).test_client()
    as_wsgi = {**environ, "HTTP_AUTHORIZATION": sent.encode().decode("latin-1")}
    answer = client.get("/metrics", environ_base=as_wsgi)

    assert answer.status_code == status
    assert "a-kéy" not in answer.text
