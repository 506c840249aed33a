"""A process that checks one backend, `python -m router.testing.child BACKEND PARENT REQUESTS ANSWERS`.

It answers each line with a line of JSON: first the models and rules, then for `[model, rule]` the result.
"""

import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pluggy

import router
from registry import ModelSpec, RegistryError
from router.engine.device import devices
from router.errors import BootError, RouterError
from router.plugins import Plugins, find, missing, missing_message
from router.plugins.broken import summary
from router.runtime.parent import die_with
from router.settings import Settings
from router.system import System, reading
from router.testing.contract import CHECKS, ContractBroken, Subject
from router.testing.result import LOAD, Listing, Result

HERE = ("none", "embedded", "here")  # states of weights
RULES = {check.__name__: check for check in CHECKS}
LIBRARY, SITES = os.path.dirname(os.__file__), ("site-packages", "dist-packages")
OURS = tuple(str(Path(str(module.__file__)).parent) for module in (router, pluggy))


@dataclass
class Checks:
    """The checks of a backend; one model is loaded at a time."""

    system: System
    models: dict[str, ModelSpec]
    subject: Subject | None = None
    loads: dict[str, Result] = field(default_factory=dict)

    def run(self, model: str, rule: str) -> Result:
        """Run one rule on a model, which is loaded first."""
        loaded = self._loaded(model)
        if rule == LOAD:
            return loaded
        if loaded.broken or (subject := self.subject) is None:
            return Result(f"not checked, as the load failed: {loaded.broken}")
        return guarded(lambda: RULES[rule](subject))

    def _loaded(self, model: str) -> Result:
        """Load a model once; a load that failed is not tried again."""
        is_loaded = self.subject is not None and self.subject.model.name == model
        if not is_loaded and not (model in self.loads and self.loads[model].broken):
            self.loads[model] = guarded(lambda: self._load(self.models[model]))
        return self.loads[model]

    def _load(self, model: ModelSpec) -> None:
        if self.subject is not None:
            with suppress(Exception):  # the rules have said so
                self.subject.unload()
            self.subject = None
        weights, silent = self.system.weights, lambda done, total: None
        model = replace(model, folder=weights.obtain(model, silent))
        names = [each.name for each in model.adapters if each.merge or weights.adapter_state(model, each) in HERE]
        self.subject = Subject(self.system.plugins, weights.obtain_adapters(model, names, silent), devices(())[0])


def guarded(check: Callable[[], None]) -> Result:
    """Run a check; return its error in one line, and the backend's frames."""
    try:
        check()
    except ContractBroken as error:
        return Result(error.message)
    except BaseException as error:  # a stranger's code under test
        frames = list(_theirs(traceback.extract_tb(error.__traceback__)))
        where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        return Result(summary(error) + where, "".join(traceback.format_list(frames)))
    return Result()


def _theirs(frames: traceback.StackSummary) -> Iterator[traceback.FrameSummary]:
    """Yield the backend's own frames, without those of the libraries that it calls."""
    outside = [frame for frame in frames if _is_outside(frame.filename)]
    folder = os.path.dirname(outside[0].filename) if outside else ""
    yield from (frame for frame in outside if frame.filename.startswith(folder))


def _is_outside(file: str) -> bool:
    """Say whether a file is neither ours nor of Python's standard library."""
    in_library = file.startswith(LIBRARY) and not any(site in file for site in SITES)
    return not (in_library or file.startswith((*OURS, "<")))


def require(plugins: Plugins, backend: str) -> None:
    """Raise `BootError` if a backend is not there, or lacks a package."""
    if backend not in plugins.backends:
        broken = "".join(f"\n{each}" for each in plugins.broken)
        there = ", ".join(plugins.backends)
        advice = "install its package, or name its file as a plugin"
        raise BootError(f"no backend is called {backend!r}; there are {there}; {advice}{broken}")
    if missing(plugins.backends[backend]):
        raise BootError(missing_message(plugins.backends[backend]))


def listed(system: System, backend: str) -> tuple[Listing, dict[str, ModelSpec]]:
    """Return one model of each modality of the backend, with weights here.

    Raises `BootError` where there is none.
    """
    models = [model for model in system.registries.poll().models if model.backend == backend]
    states = {model.name: system.weights.state(model) for model in models}
    here = [model for model in models if states[model.name] in HERE]
    if not here:
        raise BootError(f"the models file has no model of the backend {backend} whose weights are on this machine")
    absent = [model.name for model in models if model not in here]
    notes = tuple(f"{name} is not checked: its weights are {states[name]}" for name in absent)
    chosen = {model.modality: model for model in reversed(here)}.values()
    names = {model.name: model for model in chosen}
    return Listing(tuple(names), (LOAD, *RULES), notes), names


def main(backend: str, parent: int, requests: int, answers: int) -> None:
    """Answer the parent's requests until it closes the pipe."""
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears of it, too
    logging.getLogger("router").addHandler(logging.NullHandler())
    logging.getLogger("router").propagate = False  # a failure is one line, that of the answer
    for number in (requests, answers):
        os.set_inheritable(number, False)
    with open(requests) as lines, open(answers, "w", buffering=1) as out:
        try:
            settings = Settings.from_environ()
            require(Plugins(find(settings.plugins)), backend)  # first, as the models file names it, too
            with reading(settings) as system:  # this process is killed at the end, and would leave the folder
                listing, models = listed(system, backend)
        except (RouterError, RegistryError) as error:
            print(json.dumps(asdict(Listing(problem=str(error)))), file=out)
            return
        print(json.dumps(asdict(listing)), file=out)
        checks, process = Checks(system, models), os.getpid()
        for line in lines:
            result = checks.run(*json.loads(line))
            if os.getpid() != process:  # a fork of the backend came back here
                os._exit(0)
            print(json.dumps(asdict(result)), file=out)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
