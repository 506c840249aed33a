"""A pytest plugin: each rule of a backend's contract is one test.

    pytest_plugins = ["router.testing.pytest_plugin"]  # in conftest.py

    @pytest.mark.framegate(backend="mine", models="../models.yaml")
    def test_contract(contract_rule):
        contract_rule()

The marker's paths are relative to the test's file. `plugins` names plugin files of backends that are not installed.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import pytest

from router.errors import BootError
from router.testing.process import ContractProcess
from router.testing.result import LOAD

MARKER = "framegate(backend, models, plugins=()): the backend whose rules `contract_rule` checks, and its models file"
RULE = "contract_rule"
Make = Callable[..., ContractProcess]


@dataclass(frozen=True)
class Backend:
    """The arguments of the marker."""

    backend: str
    models: Path
    plugins: tuple[Path, ...]


class Processes:
    """The processes of a run, one for each backend and models file."""

    def __init__(self) -> None:
        self._known: dict[Backend, ContractProcess] = {}

    @cached_property
    def _data(self) -> str:
        return tempfile.mkdtemp(prefix="framegate-")

    def of(self, backend: Backend) -> ContractProcess:
        if backend not in self._known:
            environ = {name: value for name, value in os.environ.items() if not name.startswith("FRAMEGATE_MODEL")}
            environ |= {"FRAMEGATE_DATA": self._data, "FRAMEGATE_MODELS": str(backend.models)}
            environ["FRAMEGATE_PLUGINS"] = os.pathsep.join(map(str, backend.plugins))
            self._known[backend] = ContractProcess(backend.backend, environ)
        return self._known[backend]

    def close(self) -> None:
        for process in self._known.values():
            process.close()
        if self._known:
            shutil.rmtree(self._data, ignore_errors=True)


PROCESSES = pytest.StashKey[Processes]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    config.stash[PROCESSES] = Processes()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[PROCESSES].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each rule and model."""
    if RULE not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("framegate")
    if marker is None:
        pytest.fail(f"a test of {RULE} needs @pytest.mark.{MARKER.partition(':')[0]}, got none", pytrace=False)
    try:
        backend = _backend(metafunc.definition.path.parent, *marker.args, **marker.kwargs)
        process = metafunc.config.stash[PROCESSES].of(backend)
        listing = process.listing
    except TypeError as error:
        pytest.fail(f"the marker framegate takes backend, models and plugins: {error}", pytrace=False)
    except BootError as error:
        pytest.fail(error.message, pytrace=False)
    pairs = [(model, rule) for model in listing.models for rule in listing.rules]
    rules = [partial(_check, process, *pair) for pair in pairs]
    metafunc.parametrize(RULE, rules, ids=["-".join(pair) for pair in pairs])


def _backend(folder: Path, backend: str, models: str | Path, plugins: Sequence[str | Path] = ()) -> Backend:
    paths = [plugins] if isinstance(plugins, str | Path) else plugins
    return Backend(backend, (folder / models).resolve(), tuple((folder / path).resolve() for path in paths))


def _check(process: ContractProcess, model: str, rule: str) -> None:
    """Fail the test if the rule is broken, without a traceback of ours."""
    result = process.check(model, rule)
    if result.broken:
        what = "load" if rule == LOAD else rule.replace("_", " ")
        pytest.fail(f"{model}: {what}: {result.broken}\n{result.trace}".strip(), pytrace=False)
