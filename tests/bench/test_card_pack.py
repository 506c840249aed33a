"""The archive for a bare GPU machine: its files, its omissions, its limit."""

import configparser
import importlib.metadata
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench.card import pack
from bench.tools.machine import ROOT

FILES = {
    "flask/__init__.py": b"name = 'flask'\n",
    "flask/app.py": b"app = None\n",
    "av.libs/libx.so": b"\x7fELF" + bytes(3000),
    "av-18.1.0.dist-info/METADATA": b"Name: av\n",
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return made(tmp_path / "site", FILES)


def made(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def required() -> set[str]:
    """Return the requirements in setup.cfg of a server with the diffusers backend."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    extras = parser["options.extras_require"]
    lines = "\n".join((parser["options"]["install_requires"], extras["engine"], extras["diffusers"])).splitlines()
    return {line.strip() for line in lines if line.strip()}


def needs(requirement: str) -> Iterator[Requirement]:
    """Yield the requirements of an installed package on CPython 3.12 on Linux."""
    parent = Requirement(requirement)
    python = {"python_version": "3.12", "python_full_version": "3.12.3"}
    for line in importlib.metadata.requires(parent.name) or ():
        need = Requirement(line)
        if need.marker is None or any(
            need.marker.evaluate(python | {"extra": extra}) for extra in ("", *parent.extras)
        ):
            yield need


def test_a_requirement_is_packed_or_on_the_machine() -> None:
    names = {canonicalize_name(Requirement(line).name) for line in required()}

    assert names - pack.PRESENT - set(pack.PACKED) == set()


def test_the_lists_are_what_the_requirements_need_in_their_turn() -> None:
    found, left = set[str](), sorted(required())
    while left:
        name = canonicalize_name(Requirement(left[-1]).name)
        requirement = left.pop()
        if name in found:
            continue
        found.add(name)
        # the machine has its packages with all that they need
        if name not in pack.PRESENT:
            left += map(str, needs(requirement))

    assert found == pack.PRESENT | set(pack.PACKED)
    assert pack.PRESENT.isdisjoint(pack.PACKED)


def test_the_versions_are_those_that_the_tests_ran_with() -> None:
    constraints = pack.CONSTRAINTS.read_text()
    lines = {canonicalize_name(line) for line in constraints.splitlines()}

    assert {canonicalize_name(pin) for pin in pack.pins(constraints)} <= lines
    assert len(pack.pins(constraints)) == len(pack.PACKED)


def test_a_package_without_a_version_is_named() -> None:
    constraints = "\n".join(f"{name}==1.0" for name in pack.PACKED if name != "mako")

    with pytest.raises(SystemExit, match=r"constraints.txt must have a version .* none of mako"):
        pack.pins(constraints)


def test_a_file_that_no_run_needs_is_left_out(tmp_path: Path) -> None:
    wanted = [
        "diffusers/pipelines/wan/pipeline_wan.py",
        "diffusers/utils/testing_utils.py",
        "flask-3.1.3.dist-info/licenses/LICENSE.txt",
        "werkzeug/test.py",
        "x-1.dist-info/licenses/tests/LICENSE",
    ]
    others = ["av/tests/test_file.py", "av/__pycache__/frame.cpython-312.pyc", "av/frame.pyi", "av/frame.pxd", "bin/x"]
    site = made(tmp_path, dict.fromkeys([*wanted, *others], b""))

    assert [path.as_posix() for path in pack.needed(site)] == wanted


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_files_make_the_same_archive(site: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "other", dict(reversed(FILES.items())))
    (other / "flask" / "app.py").chmod(0o600)

    pack.write(site, tmp_path / "one.tar.xz")
    pack.write(other, tmp_path / "two.tar.xz")

    assert (tmp_path / "one.tar.xz").read_bytes() == (tmp_path / "two.tar.xz").read_bytes()
    with tarfile.open(tmp_path / "one.tar.xz") as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == sorted(FILES)
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}


def test_an_archive_gives_back_what_was_packed(site: Path, tmp_path: Path) -> None:
    pack.write(site, tmp_path / "folder" / "packages.tar.xz")
    with tarfile.open(tmp_path / "folder" / "packages.tar.xz") as tar:
        tar.extractall(tmp_path / "back", filter="data")

    assert contents(tmp_path / "back") == FILES


def test_an_archive_that_cannot_be_carried_is_refused(site: Path, tmp_path: Path) -> None:
    archive = tmp_path / "packages.tar.xz"

    with pytest.raises(SystemExit, match=r"would be 0\.\d+ MB: at most 0\.0 MB can be carried .* av 0\.0 MB, flask"):
        pack.write(site, archive, limit=10)

    assert not list(tmp_path.glob("packages*"))


def test_the_packages_are_listed_by_size_with_their_libraries(tmp_path: Path) -> None:
    files = {"av.libs/x.so": bytes(3_000_000), "av/y.so": bytes(200_000), "flask/app.py": bytes(1_000_000)}
    site = made(tmp_path, files | {"flask-3.1.3.dist-info/RECORD": bytes(50_000)})

    assert pack.largest(site) == "av 3.2 MB, flask 1.1 MB"
