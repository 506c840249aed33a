"""The contract's checks find a backend that keeps state of a job or load."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from registry import Adapter, ModelSpec, PerExpert
from router import Backend, Frames, JobCancelled, Modality, Pool, Task, hookimpl
from router.engine import encoder
from router.settings import Settings
from router.system import assemble
from router.testing.contract import CHECKS, ContractBroken, Subject

MODELS = """
models:
  m: {backend: leaky, modality: t2v, defaults: {width: 16, height: 16, num_frames: 17, steps: 6}}
"""


class Clean:
    """A backend of noise whose state, a list, is empty between jobs."""

    declared: ClassVar[dict[str, bool]] = {}

    def __init__(self) -> None:
        self.read: list[int] = []  # of the process, not of a model

    @hookimpl
    def declare_backend(self) -> Backend:
        return Backend("leaky", frozenset({Modality.T2V}), **self.declared)

    @hookimpl
    def load_model(self, report: Callable[..., None]) -> list[int]:
        for part in range(3):
            report(part, 3)
        return []

    @hookimpl
    def generate(self, loaded: list[int], task: Task, report: Callable[..., None]) -> Frames:
        rng = self.generator(loaded, task)
        self.steps(loaded, task, report)
        return Frames(self.pixels(loaded, task, rng), task.num_frames, task.width, task.height, task.frames_per_second)

    def generator(self, loaded: list[int], task: Task) -> np.random.Generator:
        return np.random.default_rng((task.seed, len(loaded)))

    def steps(self, loaded: list[int], task: Task, report: Callable[..., None]) -> None:
        for step in range(task.steps):
            report(step + 1, task.steps)

    def pixels(self, loaded: list[int], task: Task, rng: np.random.Generator) -> Any:
        for begin in range(0, task.num_frames, 2):
            count = min(2, task.num_frames - begin)
            yield rng.integers(0, 256, (count, task.height, task.width, 3), np.uint8)


class KeepsAfterCancel(Clean):
    """Like a step cache that only a whole job resets."""

    def steps(self, loaded: list[int], task: Task, report: Callable[..., None]) -> None:
        try:
            super().steps(loaded, task, report)
        except JobCancelled:
            loaded.append(1)
            raise

    def pixels(self, loaded: list[int], task: Task, rng: np.random.Generator) -> Any:
        loaded.clear()
        return super().pixels(loaded, task, rng)


class KeepsAfterFailure(KeepsAfterCancel):
    def steps(self, loaded: list[int], task: Task, report: Callable[..., None]) -> None:
        try:
            Clean.steps(self, loaded, task, report)
        except RuntimeError:
            loaded.append(1)
            raise


class KeepsGenerator(Clean):
    """Its noise continues the noise of the job before."""

    def generator(self, loaded: list[Any], task: Task) -> np.random.Generator:
        if not loaded:
            loaded.append(super().generator(loaded, task))
        return loaded[0]  # type: ignore[no-any-return]


class KeepsHalfDecoded(Clean):
    """Like a VAE whose convolutions remember frames until the last one was taken."""

    def pixels(self, loaded: list[int], task: Task, rng: np.random.Generator) -> Any:
        for frames in super().pixels(loaded, task, rng):
            loaded.append(1)
            yield frames
        loaded.clear()


class KeepsUnstarted(Clean):
    """State is added before the frames, and removed by a generator, perhaps never started."""

    def generator(self, loaded: list[int], task: Task) -> np.random.Generator:
        made = super().generator(loaded, task)
        loaded.append(1)
        return made

    def steps(self, loaded: list[int], task: Task, report: Callable[..., None]) -> None:
        try:
            super().steps(loaded, task, report)
        except BaseException:
            loaded.clear()
            raise

    def pixels(self, loaded: list[int], task: Task, rng: np.random.Generator) -> Any:
        loaded.clear()
        yield from super().pixels(loaded, task, rng)


class KeepsHalfLoaded(Clean):
    """What a load has read stays in the process, whole or not."""

    @hookimpl
    def load_model(self, report: Callable[..., None]) -> list[int]:
        self.read.append(1)
        report(1, 2)
        report(2, 2)
        before, self.read = self.read[1:], []
        return before


class Swallows(Clean):
    def steps(self, loaded: list[int], task: Task, report: Callable[..., None]) -> None:
        for step in range(task.steps):
            try:
                report(step + 1, task.steps)
            except Exception:
                break


class BreaksAtTheDefaults(Clean):
    def steps(self, loaded: list[int], task: Task, report: Callable[..., None]) -> None:
        super().steps(loaded, task, report)
        if task.steps > 4 or task.num_frames > 9:
            raise RuntimeError("step 5")


class Keywords(Clean):
    """Reports by the names of the parameters."""

    def steps(self, loaded: list[int], task: Task, report: Callable[..., None]) -> None:
        for step in range(task.steps):
            report(done=step + 1, total=task.steps, preview=lambda: np.zeros((8, 8, 3), np.uint8))


class Undetermined(Clean):
    declared: ClassVar[dict[str, bool]] = {"deterministic": False}

    def generator(self, loaded: list[int], task: Task) -> np.random.Generator:
        return np.random.default_rng()


class Seedless(Clean):
    declared: ClassVar[dict[str, bool]] = {"uses_seed": False}

    def generator(self, loaded: list[int], task: Task) -> np.random.Generator:
        return np.random.default_rng(0)


class Ignores(Seedless):
    """Says that it uses the seed, and does not."""

    declared: ClassVar[dict[str, bool]] = {}


class Endless(Clean):
    def pixels(self, loaded: list[int], task: Task, rng: np.random.Generator) -> Any:
        while True:
            yield rng.integers(0, 256, (1, task.height, task.width, 3), np.uint8)


class Flat(Clean):
    """Its chunks have no axis of frames."""

    def pixels(self, loaded: list[int], task: Task, rng: np.random.Generator) -> Any:
        for _ in range(task.num_frames):
            yield rng.integers(0, 256, (task.height, task.width, 3), np.uint8)


class Lists(Clean):
    def pixels(self, loaded: list[int], task: Task, rng: np.random.Generator) -> Any:
        return list(super().pixels(loaded, task, rng))


class Previews(Clean):
    """Its previews are pictures of fractions."""

    def steps(self, loaded: list[int], task: Task, report: Callable[..., None]) -> None:
        for step in range(task.steps):
            report(step + 1, task.steps, lambda: np.zeros((8, 8, 3)))


class Adapts(Clean):
    """Its adapters change the noise."""

    declared: ClassVar[dict[str, bool]] = {"runs_adapters": True}

    @hookimpl
    def load_model(self, pool: Pool, report: Callable[..., None]) -> list[int]:  # type: ignore[override]
        self.pool = pool
        return super().load_model(report)

    def generator(self, loaded: list[int], task: Task) -> np.random.Generator:
        with self.pool.borrow() as parts:
            changes = [parts.part(used.name, partial(len, used.name)) for used in task.adapters]
        return np.random.default_rng((task.seed, len(loaded), *changes))


class KeepsAdapter(Adapts):
    """Its weights keep the side product of an adapter."""

    def generator(self, loaded: list[int], task: Task) -> np.random.Generator:
        made = super().generator(loaded, task)
        loaded.extend(1 for _ in task.adapters)
        return made


class KeepsAdapterAfterCancel(Adapts):
    def steps(self, loaded: list[int], task: Task, report: Callable[..., None]) -> None:
        try:
            super().steps(loaded, task, report)
        except JobCancelled:
            loaded.extend(1 for _ in task.adapters)
            raise


class CountsAdapters(Adapts):
    """An adapter is another one each time."""

    def generator(self, loaded: list[int], task: Task) -> np.random.Generator:
        self.read.extend(1 for _ in task.adapters)
        return np.random.default_rng((task.seed, len(self.read) if task.adapters else 0))


class IgnoresAdapters(Clean):
    declared: ClassVar[dict[str, bool]] = {"runs_adapters": True}


CANCEL = "a_job_cancelled_at_any_report_stops_there_and_leaves_nothing_behind"
FAIL = "a_job_that_fails_at_any_report_leaves_nothing_behind"
ADAPTER = "an_adapter_changes_the_jobs_that_name_it_and_no_others"
STYLE = Adapter("style", "./style.safetensors", paths=PerExpert(Path("style.safetensors"), None))
CLOSE = "pixels_closed_after_any_chunk_leave_nothing_behind"
LOAD = "a_load_that_ends_early_leaves_nothing_behind"


def broken(tmp_path: Path, plugin: Clean) -> dict[str, str]:
    """Return the messages of the checks that a backend breaks."""
    file = tmp_path / "models.yaml"
    file.write_text(MODELS)
    system = assemble(Settings(data=tmp_path / "data", models=file), plugins=[encoder, plugin])
    model = system.registries.poll().find("m")
    assert isinstance(model, ModelSpec)
    if plugin.declared.get("runs_adapters"):
        absent, merged = Adapter("absent", "./absent"), replace(STYLE, name="merged", merge=True)
        model = replace(model, adapters=(absent, merged, STYLE))
    subject = Subject(system.plugins, model, "cpu")
    said = {}
    for check in CHECKS:
        try:
            check(subject)
        except ContractBroken as error:
            said[check.__name__] = error.message
        except RuntimeError as error:
            said[check.__name__] = str(error)
    return said


@pytest.mark.parametrize("plugin", [Clean, Keywords, Undetermined, Seedless, Adapts])
def test_a_backend_that_keeps_nothing_and_says_what_it_does_keeps_the_contract(tmp_path: Path, plugin: Any) -> None:
    assert broken(tmp_path, plugin()) == {}


@pytest.mark.parametrize(
    ("plugin", "check", "where"),
    [
        (KeepsAfterCancel, CANCEL, "a job after one that was cancelled at report 1 of 4 must be as on a model"),
        (KeepsAfterFailure, FAIL, "a job after one that failed at report 1 of 4 must be as on a model"),
        (KeepsHalfDecoded, CLOSE, "a job after one whose frames were closed after chunk 1 of 5 must be as on"),
        (KeepsUnstarted, CLOSE, "a job after one whose frames were closed after chunk 0 of 5 must be as on"),
        (KeepsHalfLoaded, LOAD, "a job after a load that was cancelled at report 1 of 2 must be as on a model"),
        (KeepsAdapter, ADAPTER, "a job after one with the adapter style must be as on a model"),
        (
            KeepsAdapterAfterCancel,
            ADAPTER,
            "a job after one with the adapter style that was cancelled at report 1 of 4",
        ),
        (CountsAdapters, ADAPTER, "the adapter style must give the same video each time, bit for bit"),
        (IgnoresAdapters, ADAPTER, "the adapter style must change the video"),
        (BreaksAtTheDefaults, "the_defaults_of_the_model_work", "step 5"),
    ],
)
def test_what_a_backend_keeps_is_found_by_one_check_which_says_where(
    tmp_path: Path, plugin: Any, check: str, where: str
) -> None:
    said = broken(tmp_path, plugin())

    assert list(said) == [check]
    assert said[check].startswith(where)


@pytest.mark.parametrize(
    ("plugin", "check", "message"),
    [
        (Ignores, "a_seed_gives_the_same_video_and_another_seed_another", "another seed must give another video"),
        (Endless, "frames_have_the_size_and_number_of_the_task", "pixels must have 9 frames, got at least 10"),
        (Flat, "frames_have_the_size_and_number_of_the_task", "each chunk of pixels must be uint8 of shape (n, 16, 16, 3), got uint8 of shape (16, 16, 3)"),
        (Lists, "frames_have_the_size_and_number_of_the_task", "pixels must be an iterator, got list"),
        (Previews, "previews_are_pictures", "a preview must return uint8 of shape (height, width, 3), got float64 of shape (8, 8, 3)"),
    ],
)  # fmt: skip
def test_a_wrong_result_is_found_by_its_rule(tmp_path: Path, plugin: Any, check: str, message: str) -> None:
    assert broken(tmp_path, plugin())[check].startswith(message)


def test_a_generator_that_goes_on_is_found(tmp_path: Path) -> None:
    said = broken(tmp_path, KeepsGenerator())

    assert (
        "the same seed must give the same video, bit for bit"
        in said["a_seed_gives_the_same_video_and_another_seed_another"]
    )


def test_a_backend_that_swallows_what_report_raises_is_found(tmp_path: Path) -> None:
    said = broken(tmp_path, Swallows())

    assert said == {
        CANCEL: "JobCancelled must pass through generate, at report 1 of 4 it did not",
        FAIL: "generate must end with what report 1 of 4 raised",
    }
