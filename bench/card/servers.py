"""The servers of the section `truth`: Wan Nano, ours and diffusers'."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from bench.card.session import Session
from bench.card.videos import Studio, Video, open_studio
from nano.requests import ClipRequest, held_out

KINDS = {"t2v": ("t2v", False), "i2v": ("i2v", True), "ti2v": ("ti2v", False), "ti2v with an image": ("ti2v", True)}
NAMES = ("t2v", "i2v", "ti2v")
DTYPES = {"fp32": "dtype: fp32, decoder_dtype: fp32", "bf16": "dtype: bf16"}
LARGE = "limits: {pixels: 4194304, frames: 121, steps: 1000}"  # of models for long and oversized jobs
IN_TORCH = ("native", "_native_cudnn", "_native_flash", "_native_efficient", "_native_math")


def _entry(name: str, kind: str, options: str, more: str = "") -> str:
    extra = f", {more}" if more else ""
    return f"  {name}: {{source: 'embedded:wan-nano-{kind}', backend: diffusers, options: {{{options}}}{extra}}}"


def _models(names: Mapping[str, str], *more: str) -> str:
    """Return a models file: each kind with each suffix's options, and more."""
    entries = [_entry(f"{kind}{suffix}", kind, options) for kind in NAMES for suffix, options in names.items()]
    return "\n".join(["models:", *entries, *more, ""])


def _ours(device: str) -> str:
    return _models(
        {f"-{dtype}": options for dtype, options in DTYPES.items()},
        _entry("offloaded", "t2v", f"{DTYPES['fp32']}, group_offload: true"),
        _entry("large", "t2v", DTYPES["fp32"], LARGE),
        *(_entry(f"by{name}", "t2v", f"dtype: bf16, attention: {name}") for name in torch_attention(device)),
    )


def torch_attention(device: str) -> tuple[str, ...]:
    return ("native", "_native_math") if device == "cpu" else IN_TORCH


REFERENCE = _models({"": "fast: false"})


@dataclass(frozen=True)
class Servers:
    """Two servers: ours, and diffusers' own passes on a CPU."""

    ours: Studio
    reference: Studio


@contextmanager
def _start(session: Session) -> Iterator[Servers]:
    # the imports of both take seconds, in parallel
    wanted = {"ours": (_ours(session.device), session.device, "-fp32"), "reference": (REFERENCE, "cpu", "")}
    with ExitStack() as stack, ThreadPoolExecutor(len(wanted)) as pool:

        def start(models: str, device: str, suffix: str) -> Studio:
            studio = stack.enter_context(open_studio(session.folder / "raw", models, device))
            video_of(studio, "t2v", suffix)
            return studio

        opened = {name: pool.submit(start, *what) for name, what in wanted.items()}
        yield Servers(**{name: each.result() for name, each in opened.items()})


def servers_of(session: Session) -> Servers:
    return session.once("studios", lambda: _start(session))


def tight_server(session: Session) -> Studio:
    """Return another server, its memory budget for two of three models."""
    return session.once("tight", lambda: _budget_for_two(session))


def _budget_for_two(session: Session) -> AbstractContextManager[Studio]:
    first = servers_of(session).ours
    for kind in NAMES:
        video_of(first, kind, "-fp32")
    owned, shared = (first.metrics("framegate_weights_bytes", held=held) for held in ("owned", "shared"))
    names = [f"{kind}-fp32" for kind in NAMES]
    alone = [owned[name] for name in names]
    budget = int(sum(alone) + max(shared[name] for name in names) - min(alone) / 2)
    models = _models({f"-{dtype}": options for dtype, options in DTYPES.items()})
    settings = {"memory_budget": budget, "activation_reserve": 0}
    return open_studio(session.folder / "raw", models, session.device, **settings)


def clip_request(with_image: bool) -> ClipRequest:
    """Return a request in the nano models' own words."""
    # guidance amplifies other words into noise
    return held_out(1, with_image=with_image)[0]


def video_of(studio: Studio, kind: str, suffix: str) -> Video:
    name, with_image = KINDS[kind]
    request = clip_request(with_image)
    return studio.make(f"{name}{suffix}", request.prompt, request.image)
