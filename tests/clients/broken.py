"""A backend whose jobs all fail, to show clients the errors."""

from typing import Any, NoReturn

from router import Backend, Modality, hookimpl


@hookimpl
def declare_backend() -> Backend:
    return Backend(name="broken", modalities=frozenset({Modality.T2V}))


@hookimpl
def load_model() -> str:
    return "nothing"


@hookimpl
def generate(task: Any) -> NoReturn:
    raise RuntimeError(f"no video of {task.prompt}")
