"""The card: name and versions, rates of matrix products and of copies."""

import statistics
from collections.abc import Callable, Iterator
from importlib import metadata

import torch

from bench.card.clock import Clock
from bench.card.session import Check, Finding, Session
from bench.tools.table import Row

PRODUCTS = 5  # runs of each measurement; the median counts
LIBRARIES = ("torch", "triton", "diffusers", "transformers", "huggingface_hub", "numpy", "av")
BYTES = {"cpu": 2**22, "cuda": 2**30}  # of a copy


def names(session: Session) -> Iterator[Finding]:
    yield ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    if session.is_toy:
        return
    card = torch.cuda.get_device_properties(session.device)
    yield f"{card.name}, capability {card.major}.{card.minor}, {card.multi_processor_count} multiprocessors"
    yield f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    yield Row("memory of the card", card.total_memory / 1e9, "GB")
    yield Row("free before anything ran", torch.cuda.mem_get_info(session.device)[0] / 1e9, "GB")


def products(session: Session) -> Iterator[Finding]:
    clock = session.clock()
    left, right = (torch.randn(clock.side, clock.side, device=session.device).bfloat16() for _ in range(2))
    for _ in range(PRODUCTS):
        clock.seconds(lambda: left @ right)
    taken = statistics.median(clock.seconds(lambda: left @ right) for _ in range(PRODUCTS))
    what = f"a product of {clock.side} x {clock.side} random bf16 matrices, median of {PRODUCTS}"
    yield Row(what, 2 * clock.side**3 / taken / 1e12, "TFLOP/s")


def copies(session: Session) -> Iterator[Finding]:
    on_card = not session.is_toy
    size, clock = BYTES[torch.device(session.device).type], session.clock()
    here, there = (torch.empty(size, dtype=torch.uint8, device=session.device) for _ in range(2))
    taken = _median(clock, lambda: there.copy_(here))
    yield Row("a copy within the device, bytes read and written", 2 * size / taken / 1e9, "GB/s")
    for word in ("pinned", "pageable"):
        host = torch.empty(size, dtype=torch.uint8, pin_memory=on_card and word == "pinned")
        host.fill_(1)  # untouched memory is not allocated yet
        for way, copy in (
            (f"from {word} memory to the device", lambda host=host: here.copy_(host)),
            (f"from the device to {word} memory", lambda host=host: host.copy_(here)),
        ):
            yield Row(way, size / _median(clock, copy) / 1e9, "GB/s")


def _median(clock: Clock, run: Callable[[], object]) -> float:
    run()
    return statistics.median(clock.seconds(run) for _ in range(PRODUCTS))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


CHECKS: dict[str, Check] = {"what is here": names, "matrix products": products, "copies": copies}
