"""`/admin/revisions` and `/admin/reload`: past changes, and those of a reload."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import LIMITS, MODELS, SMALL
from flask.testing import FlaskClient
from support.patience import until

from router.engine import encoder
from router.settings import Settings
from router.system import System, assemble
from router.web import create_app

FRESH = f"  fresh: {{backend: still, modality: t2v, {SMALL}, {LIMITS}}}\n"
NEXT = MODELS.replace("  slow:", f"{FRESH}  slow:").replace("default: any", "default: fresh")


def ask(client: FlaskClient, path: str, method: str = "GET") -> dict[str, Any]:
    answer = client.open(path, method=method)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def write(system: System, text: str) -> None:
    system.settings.models.write_text(text)


def test_what_a_reload_would_change_is_what_it_changes(system: System, boss: FlaskClient) -> None:
    file = str(system.settings.models)
    same = {"file": file, "changed": False, "diff": "", "changes": [], "problems": []}
    assert ask(boss, "/admin/reload") == same
    write(system, NEXT)
    changes = ["models: added fresh", "default: fresh instead of any"]
    preview = ask(boss, "/admin/reload")

    assert preview == {**preview, "file": file, "changed": True, "changes": changes, "problems": []}
    assert "-default: any\n+default: fresh\n" in preview["diff"]
    assert system.registries.poll().find("fresh") is None
    done = ask(boss, "/admin/reload", "POST")
    assert done == {"object": "reload", "revision": 2, "changes": [f"{file} is revision 2", *changes]}
    assert ask(boss, "/admin/reload") == same
    until(lambda: boss.get("/v1/models/fresh").status_code == 200)
    again = ask(boss, "/admin/reload", "POST")
    assert (again["revision"], again["changes"]) == (2, [f"nothing has changed: {file} is revision 2 already"])


def test_a_bad_file_is_refused_with_every_problem_and_changes_nothing(system: System, boss: FlaskClient) -> None:
    write(system, MODELS.replace("modality: t2v", "modality: x2v").replace("default: any", "default: none-such"))
    preview = ask(boss, "/admin/reload")
    answer = boss.post("/admin/reload")
    error = answer.get_json()["error"]

    assert preview["changed"] is True
    assert len(preview["problems"]) >= 3
    assert "+default: none-such" in preview["diff"]
    assert (answer.status_code, error["code"]) == (400, "invalid_models_file")
    assert error["message"] == "\n".join(preview["problems"])
    assert [revision["n"] for revision in ask(boss, "/admin/revisions")["data"]] == [1]


def test_a_file_that_is_gone_or_no_text_is_a_problem(system: System, boss: FlaskClient) -> None:
    system.settings.models.unlink()
    gone = ask(boss, "/admin/reload")
    system.settings.models.write_bytes(b"\xff\xfe\x00")
    unreadable = ask(boss, "/admin/reload")

    assert [(found["changed"], len(found["problems"]), found["diff"]) for found in (gone, unreadable)] == [
        (True, 1, ""), (True, 1, ""),
    ]  # fmt: skip
    assert boss.post("/admin/reload").get_json()["error"]["code"] == "invalid_models_file"


def test_a_pipe_in_place_of_the_file_keeps_nobody_waiting(system: System, boss: FlaskClient) -> None:
    system.settings.models.unlink()
    os.mkfifo(system.settings.models)
    (problem,) = ask(boss, "/admin/reload")["problems"]

    assert problem.endswith("cannot be read: it is a pipe, a models file must be a file")
    assert boss.post("/admin/reload").get_json()["error"]["message"] == problem


def test_revisions_are_listed_with_their_changes_newest_first(system: System, boss: FlaskClient) -> None:
    for text in (NEXT, NEXT.replace("default: fresh", "default: text")):
        write(system, text)
        ask(boss, "/admin/reload", "POST")
    until(lambda: system.registries.poll().revision == 3)
    found = ask(boss, "/admin/revisions")["data"]

    assert [(revision["n"], revision["current"], revision["changes"]) for revision in found] == [
        (3, True, ["default: text instead of fresh"]),
        (2, False, ["models: added fresh", "default: fresh instead of any"]),
        (1, False, []),
    ]
    assert {revision["file"] for revision in found} == {str(system.settings.models)}


def test_a_revision_is_compared_with_the_one_before_or_with_any(system: System, boss: FlaskClient) -> None:
    for text in (NEXT, NEXT.replace("default: fresh", "default: text")):
        write(system, text)
        ask(boss, "/admin/reload", "POST")
    third, from_first = ask(boss, "/admin/revisions/3"), ask(boss, "/admin/revisions/3?against=1")
    first = ask(boss, "/admin/revisions/1")

    assert (third["against"], third["text"]) == (2, system.settings.models.read_text())
    assert third["diff"].splitlines()[:2] == ["--- revision 2", "+++ revision 3"]
    assert "-default: fresh\n+default: text" in third["diff"]
    assert (from_first["against"], from_first["changes"]) == (
        1,
        ["models: added fresh", "default: text instead of any"],
    )
    assert (first["against"], first["diff"], first["text"]) == (None, "", MODELS)


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("/admin/revisions/2", 404, ""),
        ("/admin/revisions/0", 404, ""),
        ("/admin/revisions/x", 404, ""),
        (f"/admin/revisions/{'9' * 40}", 404, ""),
        ("/admin/revisions/1?against=2", 400, "against"),
        ("/admin/revisions/1?against=", 400, "against"),
        ("/admin/revisions/1?agianst=1", 400, "agianst"),
    ],
)
def test_unknown_revisions_are_refused(boss: FlaskClient, path: str, status: int, param: str) -> None:
    answer = boss.get(path)

    assert (answer.status_code, answer.get_json()["error"]["param"]) == (status, param)


def test_a_revision_of_changed_weights_alone_says_so(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"a")
    settings.models.write_text(f"models: {{m: {{backend: still, modality: t2v, source: {folder}}}}}")
    system = assemble(settings, plugins=[encoder])
    client = create_app(system).test_client()
    (folder / "a.bin").write_bytes(b"other")
    preview = ask(client, "/admin/reload")
    ask(client, "/admin/reload", "POST")

    assert (preview["changed"], preview["diff"]) == (True, "")
    assert preview["changes"][0] == "the text is the same: files of weights had changed"
    assert ask(client, "/admin/revisions")["data"][0]["changes"] == [preview["changes"][0]]


def test_a_server_with_one_model_has_no_file(settings: Settings, family: Path) -> None:
    system = assemble(replace(settings, model=str(family / "wan-nano-t2v")), plugins=[encoder])
    client = create_app(system).test_client()

    assert ask(client, "/admin/revisions") == {"object": "list", "data": []}
    for method in ("GET", "POST"):
        answer = client.open("/admin/reload", method=method)
        assert answer.status_code == 400
        assert answer.get_json()["error"]["message"].startswith("there is no models file to read again")
