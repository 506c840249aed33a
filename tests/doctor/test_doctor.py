"""`framegate doctor`: each check reports and advises, and survives the others."""

import json
import os
import re
import resource
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from support.command import Run, runner

from router import Backend, Modality
from router.cli.doctor import guarded
from router.doctor import (
    clock,
    codecs,
    devices,
    disk,
    files,
    memory,
    models,
    network,
    packages,
    permissions,
    plugins,
    runtimes,
    store,
)
from router.doctor.finding import DoctorContext, Finding, Level
from router.doctor.runtimes import Onnx, Torch
from router.jobs import open_database
from router.jobs.database.retired_store import retire
from router.jobs.tables import HEAD
from router.settings import Settings

MODELS = """
models:
  text: {backend: still, modality: t2v}
  far: {backend: still, modality: t2v, source: some-org/far-away}
"""
GPUS = {"devices", "torch", "onnxruntime"}  # of whatever machine this is


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `framegate doctor ...` in this process; return its status, output and messages."""
    models = tmp_path / "models.yaml"
    models.write_text(MODELS)
    return runner(monkeypatch, capsys, "doctor", models=models, data=tmp_path / "data", plugins="")


@pytest.fixture
def context(tmp_path: Path) -> DoctorContext:
    (tmp_path / "models.yaml").write_text(MODELS)
    return DoctorContext(Settings(data=tmp_path / "data", models=tmp_path / "models.yaml"), {})


def levels(findings: Iterator[Finding] | list[Finding]) -> list[str]:
    return [str(finding.level) for finding in findings]


def refute(finding: Finding, level: str, said: str, advice: str) -> None:
    """Assert a finding's level, and the words of its message and advice."""
    assert finding.level == level
    assert said in finding.message
    assert advice in finding.advice


# The command


@pytest.mark.slow
def test_a_machine_that_can_serve_ends_with_0_and_nothing_is_made(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("--port", "1")
    failed = {line.split()[1].strip(":") for line in out.splitlines() if line.startswith("fail")}

    assert (status, failed - GPUS) == (int(bool(failed)), set())
    assert "warn  weights: far needs weights from some-org/far-away, which are not on this machine; fetch them" in out
    assert re.fullmatch(r"\d+ ok, \d+ to look at, \d+ wrong", out.splitlines()[-1])
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_what_is_broken_is_said_once_and_all_else_is_still_looked_at(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('no')")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jobs.sqlite").write_text("no database" * 100)
    status, out, err = run("--plugin", str(tmp_path / "broken.py"), "--json")
    findings = json.loads(out)["findings"]
    failed = {finding["check"]: finding for finding in findings if finding["level"] == "fail"}

    assert (status, json.loads(out)["ok"], err) == (1, False, "")
    assert failed.keys() - GPUS == {"plugins", "store"}
    assert "it cannot be imported: RuntimeError: no" in failed["plugins"]["message"]
    assert "file is not a database" in failed["store"]["message"]
    assert {"python", "codecs", "memory", "port"} <= {finding["check"] for finding in findings}


@pytest.mark.slow
def test_every_problem_of_the_models_file_is_a_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models:\n  a: {backend: nobody, modality: t2v}\n  b: {backend: still}\n")
    status, out, _ = run()

    assert (status, out.count("fail  models: ")) == (1, 2)


def test_bad_settings_come_first_and_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEGATE_THREADS", "many")
    status, out, _ = run()

    assert status == 1
    assert out.startswith("fail  settings: FRAMEGATE_THREADS: must be a whole number of at least 1, got 'many'; all")


def test_a_check_that_breaks_off_is_a_finding(context: DoctorContext) -> None:
    def check(context: DoctorContext) -> Iterator[Finding]:
        yield Finding(Level.OK, "one", "is fine")
        raise OSError("the second\nis not")

    assert [str(finding) for finding in guarded(check, context)] == [
        "ok    one: is fine",
        "fail  test_doctor: this check broke off: OSError: the second; its subject may be broken",
    ]


# Python and packages


def test_an_old_python_is_wrong() -> None:
    refute(packages.python((3, 10, 2), "python3"), "fail", "Python 3.10.2 is too old", "3.11")
    assert packages.python((3, 13, 0), "python3").level == "ok"


def test_packages_are_held_against_what_is_needed() -> None:
    here = {"flask": "3.1.0", "alembic": "1.9", "torch": "2.13.0+cu130", "diffusers": "0.3", "numpy": "2.0.0"}
    needs = [
        "flask>=3.1", "alembic>=1.16", "pluggy>=1.6", "numpy>=2.0", "apispec[marshmallow]>=6.8",
        'torch>=2.9; extra == "diffusers"', "diffusers>=0.42 ; extra == 'diffusers'", 'onnx>=1.19; extra == "onnx"',
        'pywin32>=300; platform_system == "Windows"', 'tomli>=2; python_version < "3.11"',
    ]  # fmt: skip
    found = list(packages.packages(needs, here.get))

    assert [(finding.message, finding.advice) for finding in found[:-1]] == [
        ("alembic is 1.9, >=1.16 is needed", "pip install -U 'alembic>=1.16'"),
        ("pluggy is missing", "pip install 'pluggy>=1.6'"),
        ("apispec is missing", "pip install 'apispec[marshmallow]>=6.8'"),
        ("diffusers is 0.3, >=0.42 is needed", "pip install -U 'diffusers>=0.42'"),
    ]
    assert found[-1].message == "flask 3.1.0, numpy 2.0.0, torch 2.13.0+cu130"


def test_two_packages_of_opencv_are_wrong() -> None:
    (found,) = packages.rivals(lambda name: "5.0")
    refute(found, "fail", "both installed", "pip uninstall -y")
    assert list(packages.rivals({"opencv-python-headless": "5.0"}.get)) == []


# GPUs


def driver(dev: Path, *nodes: str, version: str = "", **environ: str) -> Finding:
    dev.mkdir(exist_ok=True)
    for node in nodes:
        (dev / node).touch()
    (dev / "version").write_text(version)
    return devices.driver(dev, dev / "version", environ)


NVIDIA = ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm")
DRIVER = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build"


def test_gpus_and_their_driver_are_seen(tmp_path: Path) -> None:
    assert driver(tmp_path / "a", *NVIDIA, version=DRIVER).message == "2 NVIDIA GPUs, driver 580.65.06"
    assert driver(tmp_path / "b").message == "no NVIDIA GPU: engines run on the CPU"
    assert driver(tmp_path / "c", "dxg").message == "an NVIDIA GPU by way of WSL"


def test_gpus_that_cannot_be_reached_are_wrong(tmp_path: Path) -> None:
    refute(driver(tmp_path / "a", version=DRIVER), "fail", "no /dev/nvidia0", "--gpus all")
    refute(driver(tmp_path / "b", "nvidia0", "nvidiactl"), "fail", "nvidia-uvm are missing", "nvidia-modprobe")
    refute(driver(tmp_path / "c", *NVIDIA, CUDA_VISIBLE_DEVICES=""), "warn", "all hidden", "unset")


CUDA = "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("torch", "said"),
    [
        (Torch("2.13.0+cpu", None, None), "is built for the CPU, and there are GPUs"),
        (Torch("2.13.0", "13.0", 91002, error="the driver is too old"), "cannot use the GPUs: the driver is too old"),
        (Torch("2.13.0", "13.0", 91002), "cannot use the GPUs: it sees none"),
        (Torch("2.13.0", "13.0", 91002, ("P4 (8 GiB)",), ("P4 (sm_61)",)), "has no code for P4 (sm_61)"),
    ],
)
def test_a_torch_that_does_not_suit_the_gpus_is_wrong(torch: Torch, said: str) -> None:
    found = runtimes.torch_sees(torch, gpus=True)

    assert (found.level, said in found.message, bool(found.advice)) == ("fail", True, True)
    assert runtimes.torch_sees(torch, gpus=False).level == "ok"


def test_torch_tells_its_cuda_and_cudnn() -> None:
    found = runtimes.torch_sees(Torch("2.13.0", "13.0", 91002, ("H200 (139 GiB)",)), gpus=True)

    assert (found.level, found.message) == ("ok", "PyTorch 2.13.0, CUDA 13.0, cuDNN 9.10.2: H200 (139 GiB)")
    refute(runtimes.torch_sees(None, gpus=True), "warn", "not installed", "framegate[all]")


def test_an_onnx_runtime_that_does_not_suit_the_gpus_is_said() -> None:
    torch, sees = Torch("2.13.0", "13.0", 91002, ("H200",)), runtimes.onnx_sees
    refute(sees(Onnx("1.31", None, ("CPUExecutionProvider",)), torch, True), "warn", "for the CPU", "onnxruntime-gpu")
    refute(sees(Onnx("1.31", "12.8", (CUDA,)), torch, True), "warn", "PyTorch has CUDA 13.0", "one CUDA")
    found = sees(Onnx("1.31", "13.0", (CUDA,), "CPUExecutionProvider"), torch, True)
    refute(found, "fail", "took CPUExecutionProvider", "cudnn")

    assert sees(Onnx("1.31", "13.0", (CUDA,), CUDA), torch, True).level == "ok"
    assert sees(Onnx("1.31", None, ()), torch, False).level == "ok"


def test_both_packages_of_onnx_runtime_are_wrong() -> None:
    (found,) = runtimes.both_onnx("1.30", "1.31")
    refute(found, "fail", "both installed", "pip uninstall -y onnxruntime onnxruntime-gpu")
    assert list(runtimes.both_onnx(None, "1.31")) == []


@pytest.mark.slow
def test_the_libraries_of_this_python_answer(context: DoctorContext) -> None:
    pytest.importorskip("torch")

    assert "torch" in [finding.check for finding in runtimes.check(context)]


@pytest.mark.slow
def test_onnx_runtime_runs_the_graph_that_asks_for_cuda() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")

    assert runtimes.ask_onnx(gpus=True).runs_on in (CUDA, "CPUExecutionProvider")


# Codecs, memory, disk


def test_two_frames_are_written_and_read() -> None:
    assert codecs.h264().level == "ok"


def test_a_codec_that_fails_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))

    refute(codecs.h264(), "fail", "cannot write H.264", "av")


def test_little_memory_and_few_files_are_said(tmp_path: Path) -> None:
    refute(memory.ram(2 * 2**30), "warn", "2.0 GiB", "4 GiB at least")
    refute(memory.shared(tmp_path / "missing"), "warn", "not there", "tmpfs")
    refute(memory.files(256, 640), "warn", "256 open", "840")

    assert memory.ram(8 * 2**30).level == memory.shared(tmp_path).level == memory.files(1024, 640).level == "ok"
    assert memory.files(resource.RLIM_INFINITY, 640).message == "no limit"


def test_a_full_disk_is_wrong_and_one_nearly_full_is_said(tmp_path: Path) -> None:
    refute(disk.free_space("data", tmp_path, 10**18, 10**19), "fail", "are free", "at least")
    refute(disk.free_space("data", tmp_path / "a" / "b", 0, 10**19), "warn", "are free", "recommended")
    assert disk.free_space("data", tmp_path, 0, 0).level == "ok"


def test_a_data_folder_that_cannot_be_made_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    refute(disk.writable(tmp_path / "file" / "data"), "fail", f"{tmp_path / 'file'} is no folder", "FRAMEGATE_DATA")
    assert "will be made" in disk.writable(tmp_path / "new" / "data").message


@pytest.mark.parametrize(
    ("kind", "level"),
    [("nfs4", "warn"), ("fuse.sshfs", "warn"), ("tmpfs", "warn"), ("overlay", "warn"), ("ext4", "ok"), ("xfs", "ok")],
)
def test_the_nearest_mount_says_which_file_system_it_is(tmp_path: Path, kind: str, level: str) -> None:
    (tmp_path / "a b").mkdir()
    point = str(tmp_path / "a b").replace(" ", "\\040")
    mounts = f"/dev/a / btrfs rw 0 0\nnone {point} {kind} rw 0 0\nnone {tmp_path}/a squashfs rw 0 0\n"
    found = disk.file_system(tmp_path / "a b" / "data", mounts)

    assert (found.level, f"is on {kind} ({tmp_path}/a b)" in found.message) == (level, True)


# The store and the clocks


def test_a_store_of_this_version_is_right_and_its_clock_too(context: DoctorContext) -> None:
    open_database(store.path_of(context)).close()

    assert levels(store.check(context)) == ["ok", "ok", "ok"]
    assert levels(clock.check(context)) == ["ok", "ok"]


def of_revision(context: DoctorContext, revision: str) -> Finding:
    """Give the store another revision, and say what is found of it."""
    with closing(sqlite3.connect(store.path_of(context))) as db:
        db.execute("UPDATE alembic_version SET version_num = ?", [revision])
        db.commit()
    return next(store.check(context))


def test_a_store_of_another_version_is_said(context: DoctorContext) -> None:
    open_database(store.path_of(context)).close()
    older, newer = of_revision(context, "0001"), of_revision(context, "9999")

    assert newer.level == "ok"  # its migrations have only added something
    assert newer.message.endswith(f"(revision 9999, this one knows {HEAD}), and can be used by this one, too")
    assert older.level == "ok"
    assert older.message.endswith(f"is of revision 0001: the next start brings it to {HEAD}")
    with closing(sqlite3.connect(store.path_of(context))) as db, db:
        db.execute("UPDATE facts SET value = '9999' WHERE name = 'least_revision'")
    refute(of_revision(context, "9999"), "fail", "of a newer Framegate (revision 9999", "another store")


def test_a_store_that_was_moved_is_wrong(context: DoctorContext) -> None:
    with closing(open_database(store.path_of(context))) as database:
        retire(database, "postgresql+psycopg://db/framegate")

    refute(next(store.check(context)), "fail", "was moved to postgresql+psycopg://db/framegate", "store reopen")


def test_a_damaged_store_is_wrong(context: DoctorContext) -> None:
    open_database(store.path_of(context)).close()
    content = bytearray(store.path_of(context).read_bytes())
    content[5000:20000] = b"\xff" * 15000
    store.path_of(context).write_bytes(content)

    assert "fail" in levels(store.check(context))
    assert levels(files.check(context)) in (["ok"], [])


def test_a_video_that_is_gone_or_cut_is_wrong(context: DoctorContext, tmp_path: Path) -> None:
    assert levels(files.check(context)) == []
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE jobs (seq INTEGER, id TEXT, status TEXT, artifact TEXT)")
        for n in range(5):
            db.execute("INSERT INTO jobs VALUES (?, ?, 'completed', ?)", (n, f"job{n}", '{"name": "1.mp4", "size": 9}'))
            (tmp_path / f"job{n}").mkdir()
            (tmp_path / f"job{n}" / "1.mp4").write_bytes(bytes(9))
        assert files.videos(db, tmp_path) == Finding(Level.OK, "files", "each of 5 completed jobs has its video")
        (tmp_path / "job1" / "1.mp4").unlink()
        for n in (0, 2, 4):
            (tmp_path / f"job{n}" / "1.mp4").write_bytes(b"half")
        found = files.videos(db, tmp_path)

    refute(found, "fail", "of 4 completed jobs is gone or no longer whole", "from a copy")
    assert f"{tmp_path}/job0/1.mp4, {tmp_path}/job1/1.mp4, {tmp_path}/job2/1.mp4, ...; " in str(found)


def test_a_store_that_somebody_holds_is_wrong(context: DoctorContext) -> None:
    path = store.path_of(context)
    open_database(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other, closing(store.opened(path, 0.1)) as db:
        other.execute("BEGIN IMMEDIATE")
        refute(store.free(db, path), "fail", "somebody else is writing", "fuser")
        other.execute("ROLLBACK")
        assert store.free(db, path).level == "ok"


def test_a_clock_behind_the_newest_job_is_said() -> None:
    now = time.time()
    refute(clock.wall(now + 3600, now), "warn", "3600 s behind the newest job", "timedatectl")

    assert levels([clock.wall(now + 30, now), clock.wall(None, now), clock.leases()]) == ["ok"] * 3


# Permissions


def test_an_open_data_folder_is_said(tmp_path: Path) -> None:
    user = tmp_path.stat().st_uid
    tmp_path.chmod(0o777)
    refute(permissions.private(tmp_path, user), "fail", "everybody may write", "chmod o-rwx")
    tmp_path.chmod(0o755)
    refute(permissions.private(tmp_path, user), "warn", "may look into", "chmod o-rwx")
    tmp_path.chmod(0o750)
    refute(permissions.private(tmp_path, user + 1), "warn", "belongs to user", "server's user")

    assert permissions.private(tmp_path, user).level == permissions.private(tmp_path / "new", user).level == "ok"


def test_plugins_that_everybody_may_change_are_said(tmp_path: Path) -> None:
    own, user = tmp_path / "own", tmp_path.stat().st_uid
    own.mkdir(mode=0o755)
    (own / "a.py").touch()
    assert permissions.unchangeable("plugins", [own, tmp_path / "gone"], user).level == "ok"
    (own / "a.py").chmod(0o666)

    refute(
        permissions.unchangeable("plugins", [own], user), "warn", f"everybody may change {own / 'a.py'}", "chmod o-w"
    )
    refute(permissions.unchangeable("plugins", [own / "a.py"], user), "warn", "a.py", "chmod o-w")


def test_a_file_in_a_folder_that_everybody_may_change_is_said(tmp_path: Path) -> None:
    shared, user = tmp_path / "shared", tmp_path.stat().st_uid
    shared.mkdir()
    (shared / "a.py").touch()
    shared.chmod(0o777)
    assert permissions.unchangeable("plugins", [shared / "a.py"], user).level == "warn"
    shared.chmod(0o1777)
    assert permissions.unchangeable("plugins", [shared / "a.py"], user).level == "ok"
    assert permissions.unchangeable("plugins", [shared], user).level == "warn"  # any file that is added there would run


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_every_folder_on_the_way_is_looked_at(tmp_path: Path, depth: int) -> None:
    user = tmp_path.stat().st_uid
    file = tmp_path.joinpath(*(f"f{n}" for n in range(depth)), "plugins", "a.py")
    file.parent.mkdir(parents=True)
    file.touch()
    assert permissions.unchangeable("plugins", [file.parent], user).level == "ok"
    (tmp_path / "f0").chmod(0o777)

    refute(
        permissions.unchangeable("plugins", [file.parent], user), "warn", f"may change {tmp_path / 'f0'}", "chmod o-w"
    )
    refute(permissions.unchangeable("plugins", [file], user), "warn", f"may change {tmp_path / 'f0'}", "chmod o-w")
    refute(permissions.unchangeable("x", [file], user, below=False), "warn", f"{tmp_path / 'f0'}", "chmod o-w")


def test_the_way_of_a_link_and_of_what_it_leads_to_is_looked_at(tmp_path: Path) -> None:
    user = tmp_path.stat().st_uid
    for name in ("real", "middle", "links"):
        (tmp_path / name / "inner").mkdir(parents=True)
    (tmp_path / "real" / "inner" / "a.py").touch()
    (tmp_path / "middle" / "inner" / "hop").symlink_to(tmp_path / "real" / "inner")
    (tmp_path / "links" / "inner" / "plugins").symlink_to("../../middle/inner/hop")
    plugins = tmp_path / "links" / "inner" / "plugins"
    assert permissions.unchangeable("plugins", [plugins], user).level == "ok"
    for name in ("real", "middle", "links"):
        (tmp_path / name).chmod(0o777)
        refute(permissions.unchangeable("plugins", [plugins], user), "warn", f"change {tmp_path / name}", "chmod o-w")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "loop").symlink_to("loop")
    assert permissions.unchangeable("plugins", [tmp_path / "loop"], user).level == "ok"


def test_what_another_user_owns_is_said(tmp_path: Path) -> None:
    user = tmp_path.stat().st_uid
    (tmp_path / "theirs" / "own").mkdir(parents=True)
    (tmp_path / "theirs" / "own" / "a.py").touch()
    looked = [tmp_path / "theirs" / "own"]
    if user == 0:
        os.chown(tmp_path / "theirs", 4321, 4321)
        refute(
            permissions.unchangeable("x", looked, user), "warn", f"{tmp_path / 'theirs'} belongs to user 4321", "chown"
        )
        assert permissions.unchangeable("x", looked, 4321).level == "ok"  # root's and ours
        os.chown(tmp_path / "theirs", 0, 0)
        (tmp_path / "theirs" / "link").symlink_to("own")
        os.chown(tmp_path / "theirs" / "link", 4321, 4321, follow_symlinks=False)
        said = permissions.unchangeable("x", [tmp_path / "theirs" / "link"], user)
        refute(said, "warn", f"{tmp_path / 'theirs' / 'link'} belongs to user 0 and 4321", "chown")
        os.chown(tmp_path / "theirs" / "own" / "a.py", 4321, 4321)
        refute(permissions.unchangeable("x", looked, user), "warn", "a.py belongs to user 4321", "chown")
    else:
        refute(permissions.unchangeable("x", looked, user + 1), "warn", f"belongs to user {user}", "chown")


# Plugins and models


def test_a_backend_that_lacks_a_module_is_said() -> None:
    backend = Backend("needy", frozenset({Modality.T2V}), requires=("nowhere_to_be_found",), extra="needy")

    refute(plugins.able(backend), "warn", "needs nowhere_to_be_found: pip install 'framegate[needy]'", "not run here")
    assert plugins.able(Backend("able", frozenset({Modality.T2V}))).message == "the backend able runs t2v"


def test_models_without_weights_have_a_line_each(context: DoctorContext) -> None:
    found = list(models.check(context))

    assert [(one.level, one.check) for one in found] == [("ok", "models"), ("warn", "weights"), ("ok", "weights")]
    refute(found[1], "warn", "far needs weights from some-org/far-away", "framegate pull far")
    assert found[2].message.endswith("text")


def test_pickles_among_weights_are_said_to_be_refused(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").touch()
    assert list(models.safe("m", tmp_path, tmp_path.stat().st_uid)) == []
    (tmp_path / "unet" / "model.bin").touch()
    (tmp_path / "unet").chmod(0o777)
    pickles, shut = models.safe("m", tmp_path, tmp_path.stat().st_uid)

    refute(pickles, "warn", "m has pickles (model.bin), which are refused", "safetensors")
    refute(shut, "warn", f"everybody may change {tmp_path / 'unet'}", "chmod")


# Proxies and the port


def test_a_proxy_that_catches_this_machine_is_said() -> None:
    caught = network.proxies({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "localhost,.intra"})
    refute(caught, "warn", "HTTP_PROXY is set, also for 127.0.0.1:", "NO_PROXY=localhost,.intra,127.0.0.1")

    for spared in ({}, {"http_proxy": "p", "no_proxy": "*"}, {"http_proxy": "p", "no_proxy": "localhost, 127.0.0.1"}):
        assert network.proxies(spared).level == "ok"


class Answers(BaseHTTPRequestHandler):
    """Answers as a server of ours, or of somebody else's."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("body", "level", "said"),
    [(b'{"status": "ok"}', "ok", "a Framegate server answers"), (b"hello", "warn", "another program listens")],
)
def test_who_listens_on_the_port_is_said(body: bytes, level: str, said: str) -> None:
    with HTTPServer(("127.0.0.1", 0), type("Own", (Answers,), {"body": body})) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        found = network.port("127.0.0.1", server.server_port)
        server.shutdown()

    assert (found.level, said in found.message) == (level, True)


def test_a_free_port_is_right_and_one_that_says_nothing_is_not() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number = listener.getsockname()[1]
        assert network.port("127.0.0.1", number).message.endswith("is free")
        listener.listen()
        assert network.port("127.0.0.1", number).level == "warn"


def test_examples_that_nobody_has_fetched_are_no_fault(context: DoctorContext, tmp_path: Path) -> None:
    shipped = DoctorContext(Settings(data=tmp_path / "data"), {})
    own = [str(finding) for finding in models.check(context) if finding.level is not Level.OK]
    ours = [*models.check(shipped)]

    assert [line.partition(" needs")[0] for line in own] == ["warn  weights: far"]
    assert {*levels(ours)} == {"ok"}
    (examples,) = (finding.message for finding in ours if finding.message.startswith("not fetched: "))
    assert "wan2.2-t2v-a14b" in examples
    assert examples.endswith("'framegate pull NAME' fetches one")


def test_a_missing_package_matters_where_a_model_needs_it() -> None:
    backend = Backend("needy", frozenset({Modality.T2V}), requires=("nowhere_at_all",))

    refute(plugins.able(backend), "warn", "the backend needy needs nowhere_at_all", "its models are not run here")
    refute(plugins.able(backend, used=False), "ok", "needs nowhere_at_all; no model uses it", "")
