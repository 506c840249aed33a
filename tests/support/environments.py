"""Virtual environments of foreign clients: installed once, kept in the user's cache."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "framegate" / "clients"
INSTALL_SECONDS = 400
# What pip and npm say when there is no registry to be reached; anything else that goes wrong is a failure.
NO_NETWORK = re.compile(r"Retrying \(Retry|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|Could not resolve")


def python_with(*packages: str, bare: tuple[str, ...] = ()) -> Path:
    """Return a Python with these packages; `bare` ones come without their dependencies."""
    if not bare and all(map(_is_here, packages)):
        return Path(sys.executable)

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        # --no-compile: most of what is installed is never imported
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q", "--no-compile"]
        _run([*pip, *packages])
        if bare:
            _run([*pip, "--no-deps", *bare])

    kind = f"python-{sys.version_info[0]}.{sys.version_info[1]}"
    return _environment(kind, (*bare, *packages), install) / "bin" / "python"


@dataclass(frozen=True)
class Node:
    """A Node and the folder of the packages that it finds."""

    command: str
    packages: Path


def node_with(*packages: str) -> Node:
    """Return a Node with packages such as `openai@6.49.0`; `node@22.23.3` is one."""
    if missing := [command for command in ("node", "npm") if not shutil.which(command)]:
        pytest.skip(f"needs the commands {' and '.join(missing)} on this machine")

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}')
        _run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages])

    folder = _environment(f"node-{_node_major()}", packages, install) / "node_modules"
    own = folder / ".bin" / "node"
    return Node(str(own) if own.exists() else "node", folder)


def _node_major() -> str:
    return _run(["node", "--version"]).removeprefix("v").partition(".")[0]


def _is_here(package: str) -> bool:
    name, _, version = package.partition("==")
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name) == version
    return False


def _environment(kind: str, packages: tuple[str, ...], install: Callable[[Path], None]) -> Path:
    """Return the folder of an environment, which the first caller makes."""
    key = hashlib.sha256("\n".join([kind, *packages]).encode()).hexdigest()[:8]
    (name,) = re.findall(r"^@?([\w.-]+)", packages[0])
    folder = FOLDER / f"{kind}-{name}-{key}"
    complete = folder / "complete"
    with _locked(folder):
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            install(folder)
            complete.write_text("\n".join(packages))
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / f"{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str]) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    output = ended.stdout + ended.stderr
    if ended.returncode and NO_NETWORK.search(output):
        pytest.skip(f"needs a package registry: {' '.join(command)} could reach none")
    assert ended.returncode == 0, f"{' '.join(command)} failed:\n{output[-3000:]}"
    return ended.stdout
