"""No state of a failed job or load reaches the next job."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.driving import I2V, T2V, small

from plugins import diffusers_backend
from router import Backend, Frames, ModelSpec, Task, hookimpl
from router.engine import encoder
from router.settings import Settings
from router.system import assemble
from router.testing.contract import STATE, Subject

pytestmark = pytest.mark.slow

MODELS = """
models:
  m: {{backend: {backend}, source: '{source}', family: {name}, options: {options}}}
"""
CANCELLED, FAILED, CLOSED, *OTHERS = STATE
# what is fast, and keeps prompts, is held against all of the contract in `test_backends`
OPTIONS = {
    "stock": ("{fast: false}", (CANCELLED, FAILED, CLOSED, *OTHERS)),
    "group_offload": ("{group_offload: true}", (CANCELLED, CLOSED)),
    "no prompts kept": ("{prompt_cache_bytes: 0}", (CANCELLED,)),
    "bf16": ("{dtype: bf16, decoder_dtype: bf16}", (CANCELLED,)),
}


class Cached:
    """The diffusers backend with a step cache of diffusers' own on each transformer."""

    def __init__(self, config: Any) -> None:
        self._config = config

    @hookimpl
    def declare_backend(self) -> Backend:
        return replace(diffusers_backend.declare_backend(), name="cached")

    @hookimpl
    def load_model(self, model: ModelSpec, device: str, pool: Any, report: Callable[..., None]) -> Any:
        loaded = diffusers_backend.load_model(model, device, pool, report)
        for name in ("transformer", "transformer_2"):
            loaded.parts[name].enable_cache(self._config)
        return loaded

    @hookimpl
    def generate(self, model: ModelSpec, loaded: Any, task: Task, report: Any) -> Frames:
        return diffusers_backend.generate(model, loaded, task, report)

    @hookimpl
    def unload_model(self, loaded: Any, gone: bool) -> None:
        diffusers_backend.unload_model(loaded, gone)


def subject_of(folder: Path, plugins: list[object], backend: str, source: Path, options: str) -> Subject:
    file = folder / "models.yaml"
    file.write_text(MODELS.format(backend=backend, source=source, name=source.name, options=options))
    system = assemble(Settings(data=folder / "data", models=file), plugins=[encoder, *plugins])
    model = system.registries.poll().find("m")
    here = replace(model, folder=system.weights.obtain(model, lambda *_: None))
    return small(Subject(system.plugins, here, "cpu"))


@pytest.fixture(scope="module", params=OPTIONS)
def option(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, family: Path
) -> tuple[Subject, Any]:
    options, checks = OPTIONS[request.param]
    return subject_of(tmp_path_factory.mktemp("option"), [], "diffusers", family / I2V, options), checks


def test_no_option_lets_a_job_leave_something_behind(option: tuple[Subject, Any]) -> None:
    subject, checks = option
    for check in checks:
        check(subject)


def first_block_cache() -> Any:
    from diffusers import FirstBlockCacheConfig

    return FirstBlockCacheConfig(threshold=0.2)


def taylor_seer_cache() -> Any:
    from diffusers import TaylorSeerCacheConfig

    return TaylorSeerCacheConfig(cache_interval=2, use_lite_mode=True)


@pytest.mark.parametrize("config", [first_block_cache, taylor_seer_cache])
def test_no_step_cache_lets_a_job_leave_something_behind(
    tmp_path: Path, family: Path, config: Callable[[], Any]
) -> None:
    """Diffusers' step caches hold results for the next step; a stopped job's must go."""
    subject = subject_of(tmp_path, [Cached(config())], "cached", family / T2V, "{fast: false}")
    for check in (CANCELLED, FAILED):
        check(subject)
