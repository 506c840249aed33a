"""`/admin/engines`: what engines do and hold, and how they drain."""

from flask.testing import FlaskClient
from support.patience import until

from router.engine.worker import Worker
from router.jobs import ClaimRequest
from router.system import System
from router.values import EngineState, MemoryUse, Need, ResidentBytes, Status


def listed(client: FlaskClient) -> list[dict]:
    answer = client.get("/admin/engines")
    assert answer.status_code == 200, answer.text
    return answer.get_json()["data"]


def queue(client: FlaskClient, model: str = "text") -> str:
    answer = client.post("/v1/responses", json={"model": model, "input": "a", "background": True})
    return answer.get_json()["id"].removeprefix("resp_")


def test_an_engine_is_listed_with_its_job_and_what_it_holds(system: System, boss: FlaskClient) -> None:
    job = queue(boss)
    assert system.jobs.claim("a", ClaimRequest(["text"])) is not None
    state = EngineState(
        "a", "cuda:0", 7, ("text", "both"), ("text",), job,
        memory={"text": ResidentBytes(700, 300)}, warm=("both",), lacks={"image": "it needs torch"},
        too_large={"far": Need(20 * 10**9, 10**9)}, use=MemoryUse(5, None), kind="NVIDIA H200",
    )  # fmt: skip
    system.engines.heartbeat(state)
    (engine,) = listed(boss)

    assert 0 <= engine.pop("age_seconds") < 60
    assert engine == {
        "id": "a", "device": "cuda:0", "kind": "NVIDIA H200", "pid": 7, "alive": True, "draining": False,
        "job": f"video_{job}", "job_model": "text", "models": ["text", "both"],
        "memory": {"resident_bytes": 5, "device_bytes": None},
        "loaded": [
            {"model": "text", "state": "loaded", "bytes_owned": 700, "bytes_shared": 300},
            {"model": "both", "state": "warm", "bytes_owned": 0, "bytes_shared": 0},
        ],
        "lacks": {"image": "it needs torch"},
        "too_large": {"far": "needs 20 GB of weights on the device, its budget for weights is 1 GB"},
    }  # fmt: skip


def test_living_engines_come_before_lost_ones(system: System, boss: FlaskClient) -> None:
    for name in ("a", "b"):
        system.engines.heartbeat(EngineState(name, name, 1, (), ()))
    system.engines.retire("a")

    assert [(engine["id"], engine["alive"]) for engine in listed(boss)] == [("b", True), ("a", False)]


def test_a_drained_engine_takes_jobs_again_once_it_is_resumed(
    system: System, boss: FlaskClient, worker: Worker
) -> None:
    until(lambda: listed(boss))
    drained = boss.post(f"/admin/engines/{worker.id}/drain").get_json()
    job = queue(boss)
    until(lambda: boss.get("/readyz").status_code == 503)

    assert drained["draining"] is True
    assert job_of_anybody(system, job) is Status.QUEUED
    assert boss.delete(f"/admin/engines/{worker.id}/drain").get_json()["draining"] is False
    until(lambda: job_of_anybody(system, job) is Status.COMPLETED)


def job_of_anybody(system: System, job: str) -> Status:
    found = system.jobs.get(job, None)
    assert found is not None
    return found.status


def test_an_unknown_engine_is_not_found(boss: FlaskClient) -> None:
    answer = boss.post("/admin/engines/nobody/drain")

    assert answer.status_code == 404
    assert answer.get_json()["error"]["message"] == "no engine is called 'nobody'; GET /admin/engines lists them"
