"""One models file on machines with files and weights of their own."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SMALL
from flask.testing import FlaskClient
from sqlalchemy import text
from support.callers import client_of, make_key
from support.machines import Machines
from support.patience import until

from bench.tools.layout import A14B, I2V, T2V, TI2V, Kind, write_model
from registry import BrokenModel, ModelSpec, RegistryError
from registry.shared_folders import OTHER
from router.auth.keys import Scope
from router.catalog.history import Preview
from router.engine import servable
from router.engine.memory_fit import MemoryFit
from router.engine.servable import ServableModels, Served
from router.errors import BootError
from router.jobs import RevisionStore
from router.system import System
from router.values import EngineState
from router.web import create_app

WAN = "models: {wan: {backend: diffusers, source: ./weights}}"
MOTION = replace(I2V, scale=16, z=48)
A, B = (f"models: {{{name}: {{backend: still, modality: t2v, {SMALL}}}}}" for name in "ab")


def weights(machines: Machines, name: str, kind: Kind = MOTION) -> Path:
    folder = machines.models(name).parent / "weights"
    folder.parent.mkdir(exist_ok=True)
    return write_model(folder, kind)


def newest(system: System) -> int:
    return RevisionStore(system.database).newest()


def model(system: System, name: str = "wan") -> ModelSpec:
    """Wait until a model is served, and return it."""
    found = until(lambda: isinstance(entry := system.registries.poll().find(name), ModelSpec) and entry)
    assert isinstance(found, ModelSpec)
    return replace(found, source=None)  # each machine has a path of its own


def names(system: System) -> list[str]:
    return [each.name for each in system.registries.poll().models]


def served(system: System) -> Served:
    fit = MemoryFit(system.settings, system.plugins, system.weights, "cpu")
    return ServableModels(system, "cpu", fit).read()


def beat(system: System) -> None:
    """Send the heartbeat of an engine."""
    found = served(system)
    name = system.device_name("cpu")
    system.engines.heartbeat(EngineState(f"{name}-1", name, 1, found.names, (), lacks=found.lacks))


def ask(client: FlaskClient, name: str = "wan") -> tuple[int, str]:
    answer = client.post("/v1/responses", json={"model": name, "input": "a", "background": True})
    return answer.status_code, json.dumps(answer.get_json())


def test_a_machine_without_the_weights_serves_the_same_model(machines: Machines) -> None:
    weights(machines, "gpu")
    gpu, web = machines.start("gpu", WAN), machines.start("web", WAN)

    assert model(web) == model(gpu)
    assert (model(web).modality.word, model(web).size_multiple, model(web).experts) == ("i2v", 32, 2)
    assert (newest(gpu), gpu.registries.poll().lacks) == (1, {})
    assert web.registries.poll().find("wan").source == str(machines.models("web").parent / "weights")  # type: ignore[union-attr]


def test_a_machine_without_the_weights_accepts_jobs_and_runs_none(machines: Machines) -> None:
    weights(machines, "gpu", T2V)
    gpu, web = machines.start("gpu", WAN), machines.start("web", WAN)
    assert (served(gpu).names, served(gpu).lacks) == (("wan",), {})
    assert served(web).names == ()
    assert served(web).lacks["wan"].endswith("there is no such folder")

    client = create_app(web).test_client()
    beat(web)
    status, said = ask(client)
    assert (status, "no engine can run wan" in said) == (503, True)
    assert str(machines.folder) not in said
    beat(gpu)
    status, said = ask(client)
    assert status == 200, said
    listed = client.get("/v1/models/wan").get_json()
    assert (listed["modality"], listed["weights"]) == ("t2v", "here")


def test_the_first_machine_with_the_weights_tells_the_others_what_they_are(machines: Machines) -> None:
    web = machines.start("web", WAN)
    assert isinstance(web.registries.poll().find("wan"), BrokenModel)  # nobody knows its modality
    weights(machines, "gpu", TI2V)
    gpu = machines.start("gpu", WAN)

    assert model(gpu).modality.word == "ti2v"
    assert model(web) == model(gpu)
    assert newest(web) == 2


def test_a_running_engine_tells_the_others_about_a_model_that_was_added(machines: Machines) -> None:
    weights(machines, "gpu")
    gpu, web = machines.start("gpu", A), machines.start("web", A)
    machines.models("web").write_text(WAN)
    web.registries.reload()

    assert model(gpu) == model(web)
    assert newest(web) == 3  # the text, and what the folder is


def test_engines_that_tell_at_once_publish_once(machines: Machines) -> None:
    machines.start("web", WAN)
    hosts = [f"gpu{n}" for n in range(4)]
    for host in hosts:
        weights(machines, host)
        machines.models(host).write_text(WAN)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda host: machines.start(host, None), hosts))

    assert all(model(system) == model(found[0]) for system in found)
    assert model(found[0]).modality.word == "i2v"
    assert newest(found[0]) == 2


def test_a_modality_in_the_file_needs_no_folder_on_any_machine(machines: Machines) -> None:
    web = machines.start("web", "models: {wan: {backend: diffusers, source: ./weights, modality: t2v}}")

    assert model(web).modality.word == "t2v"
    assert served(web).names == ()


def test_a_reload_on_a_machine_without_the_weights_keeps_what_is_known_of_them(machines: Machines) -> None:
    weights(machines, "gpu")
    gpu, web = machines.start("gpu", WAN), machines.start("web", WAN)
    machines.models("web").write_text("models: {wan: {backend: diffusers, source: ./weights, price: 2.5}}")
    web.registries.reload()

    until(lambda: model(web).price == 2.5)
    assert model(web).modality.word == "i2v"
    until(lambda: model(gpu) == model(web))
    assert newest(web) == 2


def test_weights_that_are_not_the_published_ones_are_not_run(machines: Machines) -> None:
    weights(machines, "one", T2V)
    weights(machines, "two", A14B)
    one, two = machines.start("one", WAN), machines.start("two", WAN)
    assert model(two) == model(one)
    assert (served(one).names, served(two).names) == (("wan",), ())
    assert served(two).lacks == {"wan": OTHER}
    assert newest(one) == 1

    two.registries.reload()
    until(lambda: model(two).experts == 2)
    until(lambda: served(one).lacks == {"wan": OTHER})
    assert served(two).names == ("wan",)
    machines.start("one", None)
    assert newest(one) == 2


def test_a_damaged_folder_makes_one_engine_unable_and_the_model_stays(machines: Machines) -> None:
    weights(machines, "one")
    folder = weights(machines, "two")
    one = machines.start("one", WAN)
    (folder / "vae" / "config.json").write_text("{")
    two = machines.start("two", WAN)

    assert model(two) == model(one)
    assert served(one).names == ("wan",)
    assert served(two).names == ()
    assert str(folder) not in served(two).lacks["wan"]
    shutil.rmtree(folder)
    assert served(two).names == ()


def test_an_engine_that_could_run_nothing_does_not_start(machines: Machines) -> None:
    weights(machines, "gpu")
    machines.start("gpu", WAN)
    web = machines.start("web", WAN)
    fit = MemoryFit(web.settings, web.plugins, web.weights, "cpu")

    with pytest.raises(BootError, match="no model can run here, on cpu: "):
        ServableModels(web, "cpu", fit).begin()


def test_machines_with_different_files_serve_the_newest_and_do_not_take_turns(
    machines: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    one = machines.start("one", A)
    two = machines.start("two", B)
    assert (names(one), names(two)) == (["a"], ["a"])
    assert f"{machines.models('two')} differs from revision 1, which all machines serve" in caplog.text
    for name in ("one", "two", "two", "one"):
        assert names(machines.start(name, None)) == ["a"]
    assert newest(one) == 1

    assert two.registries.reload()[0] == f"{machines.models('two')} is revision 2"
    until(lambda: names(one) == ["b"])
    for name in ("one", "two"):
        os.utime(machines.models(name))  # newer than what is published, and still not published by a start
        assert names(machines.start(name, None)) == ["b"]
    assert newest(one) == 2


def test_one_text_in_two_places_is_one_revision(machines: Machines) -> None:
    one, two = machines.start("one", A), machines.start("two", A)

    assert two.registries.reload()[0].startswith("nothing has changed: ")
    assert [system.registries.poll().revision for system in (one, two)] == [1, 1]


def test_machines_that_start_at_once_publish_one_file(machines: Machines) -> None:
    hosts = [f"host{n}" for n in range(4)]
    for n, host in enumerate(hosts):
        machines.settings(host)
        machines.models(host).write_text((A, B)[n % 2])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda host: machines.start(host, None), hosts))

    assert len({tuple(names(system)) for system in found}) == 1
    assert newest(found[0]) == 1


@pytest.mark.parametrize("content", [None, "models: ["])
def test_a_machine_without_a_good_file_serves_that_of_the_others(
    machines: Machines, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    machines.start("one", A)
    two = machines.start("two", content)

    assert names(two) == ["a"]
    assert str(machines.models("two")) in caplog.text
    with pytest.raises(RegistryError):
        two.registries.reload()
    assert (newest(two), names(two)) == (1, ["a"])


def test_a_job_is_run_by_the_revision_of_another_machines_file(machines: Machines) -> None:
    one, two = machines.start("one", A), machines.start("two", B)
    first = two.registries.model("a", 1)
    two.registries.reload()
    until(lambda: names(one) == ["b"])

    assert first is not None
    assert one.registries.model("a", 1) == two.registries.model("a", 1) == first


def test_what_a_newer_version_says_of_a_folder_beside_is_passed_over(machines: Machines) -> None:
    weights(machines, "gpu")
    gpu = machines.start("gpu", WAN)
    with gpu.database.write() as db:
        traits = json.loads(db.scalar(text("SELECT traits FROM revisions")) or "")
        traits["./weights"]["colour"] = "red"
        db.execute(text("UPDATE revisions SET traits = :traits"), {"traits": json.dumps(traits)})

    assert model(machines.start("web", WAN)) == model(gpu)


def test_jobs_of_a_model_wait_for_the_machine_that_has_its_weights(machines: Machines) -> None:
    both = f"{WAN[:-1]}, still: {{backend: still, modality: t2v, {SMALL}}}}}"
    weights(machines, "gpu", T2V)
    gpu, web = (machines.start(name, both, engine_missing_seconds=2.0) for name in ("gpu", "web"))
    beat(gpu)
    assert ask(create_app(web).test_client())[0] == 200
    models = ServableModels(web, "cpu", MemoryFit(web.settings, web.plugins, web.weights, "cpu"))

    assert (models.begin().names, models.read().ends) == (("still",), ())

    def ends() -> bool:
        beat(web)
        return models.read().ends == ("wan",)

    until(ends)  # no machine that has them was seen for as long as requests would wait


def test_an_admin_of_any_machine_publishes_its_file(machines: Machines) -> None:
    one, two = machines.start("one", A), machines.start("two", A)
    machines.models("two").write_text(B)
    admin = client_of(create_app(two), make_key(two, "admin", scopes=(Scope.ADMIN,)))
    assert one.history.preview() == Preview(machines.models("one"), False, "")
    preview = admin.get("/admin/reload").get_json()
    assert (preview["changed"], preview["problems"]) == (True, [])
    assert admin.post("/admin/reload").get_json()["revision"] == 2

    until(lambda: names(one) == ["b"])
    listed = admin.get("/admin/revisions").get_json()["data"]
    assert [(each["n"], each["file"]) for each in listed] == [(n, str(machines.models("two"))) for n in (2, 1)]


def test_weights_that_arrive_later_are_run_without_a_reload(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servable, "AGAIN_SECONDS", 0.1)
    weights(machines, "gpu", T2V)
    gpu, late = machines.start("gpu", WAN), machines.start("late", WAN)
    fit = MemoryFit(late.settings, late.plugins, late.weights, "cpu")
    models = ServableModels(late, "cpu", fit)
    assert models.read().names == ()

    other = weights(machines, "late", A14B)
    until(lambda: models.read().lacks == {"wan": OTHER})
    shutil.rmtree(other)
    weights(machines, "late", T2V)
    until(lambda: models.read().names == ("wan",))
    assert (models.read().lacks, newest(gpu)) == ({}, 1)
    assert model(late) == model(gpu)
