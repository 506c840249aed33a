"""Backends and jobs for tests of one engine."""

from collections.abc import Callable

from router import Frames, Job, Task, hookimpl
from router.engine import encoder
from router.system import System, assemble
from router.web import create_app


class Generates:
    """Answers `generate` in the place of the backend."""

    def __init__(self, generate: Callable[[Task, Callable[..., None]], Frames]) -> None:
        self._generate = generate

    @hookimpl(tryfirst=True)
    def generate(self, task: Task, report: Callable[..., None]) -> Frames:
        return self._generate(task, report)


class Loads:
    """Answers `load_model` in the place of the backend."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)
        self.unloaded: list[str] = []

    @hookimpl(tryfirst=True)
    def load_model(self, pool: object) -> object:
        answer = self._answers.pop(0) if self._answers else 0.0
        if isinstance(answer, Exception):
            raise answer
        return answer

    @hookimpl
    def unload_model(self, model: object) -> None:
        self.unloaded.append(model.name)  # type: ignore[attr-defined]


def queue(system: System, model: str = "text") -> str:
    body = {"model": model, "input": "a", "background": True}
    answer = create_app(system).test_client().post("/v1/responses", json=body)
    return str(answer.get_json()["id"].removeprefix("resp_"))


def job_of(system: System, job_id: str) -> Job:
    job = system.jobs.get(job_id, "local")
    assert job is not None
    return job


def edited(build: Callable[..., System], *changes: tuple[str, str]) -> System:
    """Return a system whose models file has each `one` replaced by `other`."""
    system = build()
    path = system.settings.models
    for one, other in changes:
        path.write_text(path.read_text().replace(one, other))
    return assemble(system.settings, plugins=[encoder])
