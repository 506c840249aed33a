"""Reads of numbers from the device, which block a GPU: none in a step."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.driving import I2V, T2V, TI2V, load, picture, run, spec, task, video

from registry import Modality

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")

from torch.overrides import TorchFunctionMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

# what waits for a GPU: a number for Python, numbers whose count depends on others, a copy to the host
NUMBERS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "bincount"}
COPIES = {"tolist", "numpy", "cpu", "__array__"}


class Numbers(TorchDispatchMode):
    """Counts operations that read a number, PyTorch's own among them."""

    def __init__(self, reads: Counter[str]) -> None:
        super().__init__()
        self._reads = reads

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        by_mask = name == "index" and any(each is not None and each.dtype is torch.bool for each in args[1])
        if name in NUMBERS or by_mask:
            self._reads[name] += 1
        return function(*args, **(kwargs or {}))


class Copies(TorchFunctionMode):
    """Count calls that copy a tensor to the host, no-ops on a CPU."""

    def __init__(self, reads: Counter[str]) -> None:
        super().__init__()
        self._reads = reads

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (name := getattr(function, "__name__", "")) in COPIES:
            self._reads[name] += 1
        return function(*args, **(kwargs or {}))


def counted(act: Callable[[], Any]) -> tuple[Any, Counter[str]]:
    """Return the result of `act`, and its reads."""
    reads: Counter[str] = Counter()
    with Copies(reads), Numbers(reads):
        made = act()
    return made, reads


# what a CPU alone reads is switched off: what is left is what a GPU would wait for
AS_ON_A_GPU = {"fast": {"summed_steps": False, "merged_padding": False}}
BY_DIFFUSERS = {T2V: 0, I2V: 1, TI2V: 1}  # where it prepares the latents of an image


@pytest.mark.parametrize("name", [T2V, I2V, TI2V])
def test_the_steps_read_twice_however_many_they_are(family: Path, pool: Any, name: str) -> None:
    modality = Modality.named(name.rpartition("-")[2])
    model = spec(family / name, modality, AS_ON_A_GPU)
    loaded = load(model, pool)
    asked = task(image=None if name == T2V else picture())
    run(model, loaded, asked)  # keeps the prompts

    for steps in (2, 5):
        _, reads = counted(lambda steps=steps: run(model, loaded, replace(asked, steps=steps)))

        # which steps are whose, and at the end whether every part's numbers were finite
        assert reads == Counter(tolist=2, _local_scalar_dense=BY_DIFFUSERS[name]), steps


def test_each_chunk_of_frames_is_read_once_with_its_largest_number(family: Path, pool: Any) -> None:
    model = spec(family / T2V, Modality.T2V, {"fast": False})
    loaded = load(model, pool)
    for frames in (1, 9, 17):
        made = run(model, loaded, task(num_frames=frames, steps=1))
        _, reads = counted(lambda made=made: video(made))
        chunks = 1 + frames // 4

        assert reads == Counter(cpu=chunks, numpy=chunks, _local_scalar_dense=chunks)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.isfinite().all()),
        lambda x: x.isnan().nonzero(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
    ],
    ids=["item", "bool", "nonzero", "tolist", "cpu", "mask"],
)
def test_whatever_reads_is_counted(wait: Callable[[Any], object]) -> None:
    x = torch.ones(2, 3)

    assert counted(lambda: wait(x))[1].total() == 1
