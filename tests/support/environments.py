"""Virtual environments of foreign clients: installed once, kept under `build/clients`."""

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

import pytest

from support.server import ROOT

FOLDER = ROOT / "build" / "clients"
INSTALL_SECONDS = 400
# What pip and npm say when there is no registry to be reached; anything else that goes wrong is a failure.
NO_NETWORK = re.compile(r"Retrying \(Retry|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|Could not resolve")


def python_with(*packages: str) -> Path:
    """Return a Python with these packages: this one, or one of a new environment."""
    if all(map(_is_here, packages)):
        return Path(sys.executable)

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        python = str(folder / "bin" / "python")
        # --no-compile: most of what is installed is never imported
        _run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", *packages])

    return _environment(f"python-{sys.version_info[0]}.{sys.version_info[1]}", packages, install) / "bin" / "python"


def node_with(*packages: str) -> Path:
    """Return a folder from which Node finds these packages, such as `openai@6.49.0`."""

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true}')
        _run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages])

    return _environment(f"node-{node_major()}", packages, install)


def node_major() -> int:
    """Return the major version of Node, or skip the test without it."""
    for command in ("node", "npm"):
        if not shutil.which(command):
            pytest.skip(f"needs the command {command} on this machine")
    return int(_run(["node", "--version"]).removeprefix("v").partition(".")[0])


def _is_here(package: str) -> bool:
    name, _, version = package.partition("==")
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name) == version
    return False


def _environment(kind: str, packages: tuple[str, ...], install: Callable[[Path], None]) -> Path:
    """Return the folder of an environment, which the first caller makes."""
    key = hashlib.sha256("\n".join([kind, *packages]).encode()).hexdigest()[:8]
    folder = FOLDER / f"{kind}-{re.split('[=@]', packages[0])[0]}-{key}"
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
