"""Whether what runs on the card is right: videos, bytes, kernels, attention, cancels, memory, faults."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import torch

from bench.card import kernels
from bench.card.accuracy import exact_attention, relative_error
from bench.card.session import Check, Finding, Session
from bench.card.videos import Studio, Video, largest, psnr, studio
from bench.plugins.probe import FAULT, OUT_OF_MEMORY
from bench.tools.table import Row
from nano.requests import ClipRequest, held_out
from plugins.diffusers_backend.fast.attention import attend
from plugins.diffusers_backend.options import ATTENTION

KINDS = {"t2v": ("t2v", False), "i2v": ("i2v", True), "ti2v": ("ti2v", False), "ti2v with an image": ("ti2v", True)}
NAMES = ("t2v", "i2v", "ti2v")
DTYPES = {"fp32": "dtype: fp32, decoder_dtype: fp32", "bf16": "dtype: bf16"}
LEAST_DB = {"fp32": 45.0, "bf16": 30.0}  # from the frames of diffusers' own passes in fp32 on a CPU
LARGE = "limits: {pixels: 4194304, frames: 121, steps: 1000}"  # of entries that take long, or too much
HUGE = {"width": 2048, "height": 2048, "num_frames": 49, "steps": 1}
LEFT_BYTES = 600 * 2**20  # of the card, while a job that needs more is tried
LONG = {"steps": 1000}
CANCEL_AFTER = 3  # steps
QUERIES, TOKENS = 64, 4096  # of the attention whose numbers are compared with fp64
ATTENTION_OFF = 1e-2  # relative in the 2-norm: bf16's rounding a few times
BESIDE_MB = 200.0  # of a card's memory: what cuBLAS and cuDNN keep to work in
SWITCHES = 9  # jobs of three models in turn
TOY_SAME = [("t2v", "fp32"), ("t2v", "bf16"), ("ti2v with an image", "fp32")]  # a CPU takes a second for each video
IN_TORCH = ("native", "_native_cudnn", "_native_flash", "_native_efficient", "_native_math")
NEVER_ALONE = ("_hub",)  # names of kernels that are fetched, which is no business of a run without a network


def _entry(name: str, kind: str, options: str, more: str = "") -> str:
    extra = f", {more}" if more else ""
    return f"  {name}: {{source: 'embedded:wan-nano-{kind}', backend: diffusers, options: {{{options}}}{extra}}}"


def _models(names: Mapping[str, str], *more: str) -> str:
    """Return a models file with an entry for each kind of model, in each way."""
    entries = [_entry(f"{kind}{suffix}", kind, options) for kind in NAMES for suffix, options in names.items()]
    return "\n".join(["models:", *entries, *more, ""])


def _ours(device: str) -> str:
    """Return the models of the servers that are looked at."""
    return _models(
        {f"-{dtype}": options for dtype, options in DTYPES.items()},
        _entry("offloaded", "t2v", f"{DTYPES['fp32']}, group_offload: true"),
        _entry("large", "t2v", DTYPES["fp32"], LARGE),
        *(_entry(f"by{name}", "t2v", f"dtype: bf16, attention: {name}") for name in _in_torch(device)),
    )


def _in_torch(device: str) -> tuple[str, ...]:
    """Return the attention choices that come with PyTorch, and that this kind of device has."""
    return ("native", "_native_math") if device == "cpu" else IN_TORCH


REFERENCE = _models({"": "fast: false"})


@dataclass(frozen=True)
class Studios:
    """Two servers: ours, and diffusers' own passes on a CPU."""

    ours: Studio
    reference: Studio


@contextmanager
def _studios(session: Session) -> Iterator[Studios]:
    """Start both at once and have each make a video: importing their libraries takes seconds."""
    wanted = {"ours": (_ours(session.device), session.device, "-fp32"), "reference": (REFERENCE, "cpu", "")}
    with ExitStack() as stack, ThreadPoolExecutor(len(wanted)) as pool:

        def start(models: str, device: str, suffix: str) -> Studio:
            place = stack.enter_context(studio(session.folder / "raw", models, device))
            _video(place, "t2v", suffix)
            return place

        opened = {name: pool.submit(start, *what) for name, what in wanted.items()}
        yield Studios(**{name: each.result() for name, each in opened.items()})


def _open(session: Session) -> Studios:
    return session.once("studios", lambda: _studios(session))


def _tight(session: Session) -> Studio:
    """Return a server that was started later, on a device with room for two of three models."""
    return session.once("tight", lambda: _room_for_two(session))


def _room_for_two(session: Session) -> AbstractContextManager[Studio]:
    first = _open(session).ours
    for kind in NAMES:
        _video(first, kind, "-fp32")
    owned, shared = (first.metrics("framegate_weights_bytes", held=held) for held in ("owned", "shared"))
    names = [f"{kind}-fp32" for kind in NAMES]
    alone = [owned[name] for name in names]
    budget = int(sum(alone) + max(shared[name] for name in names) - min(alone) / 2)
    models = _models({f"-{dtype}": options for dtype, options in DTYPES.items()})
    settings = {"memory_budget": budget, "activation_reserve": 0}
    return studio(session.folder / "raw", models, session.device, **settings)


def _asked(with_image: bool) -> ClipRequest:
    """Return a request in words that the nano models know: guidance amplifies all else."""
    return held_out(1, with_image=with_image)[0]


def _video(place: Studio, kind: str, suffix: str) -> Video:
    name, with_image = KINDS[kind]
    ask = _asked(with_image)
    return place.make(f"{name}{suffix}", ask.prompt, ask.image)


def frames(session: Session) -> Iterator[Finding]:
    """Compare each kind of video with that of diffusers' own passes on the CPU."""
    servers = _open(session)
    for kind in KINDS:
        expected = _video(servers.reference, kind, "").frames
        for dtype in DTYPES:
            made = _video(servers.ours, kind, f"-{dtype}").frames
            what = f"{kind}, {dtype}, against the CPU's fp32"
            yield Row(what, psnr(made, expected), "dB", least=LEAST_DB[dtype])
            yield Row(f"{what}, largest difference", largest(made, expected), "levels")


def same_bytes(session: Session) -> Iterator[Finding]:
    """Count the videos whose bytes change when they are made again, and by another process."""
    servers = _open(session)
    twice = restarted = 0
    wanted = TOY_SAME if session.is_toy else [(kind, dtype) for kind in KINDS for dtype in DTYPES]
    for kind, dtype in wanted:
        first, second = (_video(servers.ours, kind, f"-{dtype}") for _ in range(2))
        twice += first.digest != second.digest
        restarted += first.digest != _video(_tight(session), kind, f"-{dtype}").digest
    count = len(wanted)
    yield Row(f"same seed, other bytes, made twice, of {count} videos", twice, "", 1)
    yield Row(f"same seed, other bytes after a restart, of {count} videos", restarted, "", 1)


def every_kernel(session: Session) -> Iterator[Finding]:
    """Compare every kernel with PyTorch's numbers: on the card, or interpreted and compiled for one."""
    found = (
        {"small": kernels.interpreted()}
        if session.is_toy
        else {"true sizes": kernels.errors(session.device, true=True)}
    )
    for size, errors in found.items():
        for kernel, by_dtype in errors.items():
            for dtype, error in by_dtype.items():
                bound = 1e-9 if kernel == "pad" else kernels.ROUNDING[dtype]  # it only moves bits
                what = f"{kernel}, {dtype.removeprefix('torch.')}, {size}: error"
                yield Row(what, 1e6 * error, "ppm", 1e6 * bound)
    if session.is_toy:
        code = kernels.compiled(90, 5120)
        yield Row("kernels without machine code for an H200", sum(not each for each in code.values()), "", 1)


def attention(session: Session) -> Iterator[Finding]:
    """Compare each attention choice with fp64; name those that this machine has not, and why."""
    dtype = torch.float32 if session.is_toy else torch.bfloat16
    tokens, heads, head = (256, 2, 32) if session.is_toy else (TOKENS, 12, 128)
    made = torch.Generator(session.device).manual_seed(1)
    query, key, value = torch.randn(3, 1, tokens, heads, head, generator=made, device=session.device).to(dtype)
    some = torch.linspace(0, tokens - 1, QUERIES, device=session.device).long()
    exact = exact_attention(query[:, some], key, value)
    for name in ATTENTION[1:]:
        if name.endswith(NEVER_ALONE):
            yield f"attention {name}: not tried, it is fetched from a hub"
            continue
        try:
            got = attend(query, key, value, None, name)[:, some]
        except Exception as error:  # whatever a backend stumbles over, it is the finding
            yield f"attention {name}: not here, {type(error).__name__}: {str(error).strip()[:120]}"
            continue
        off = relative_error(got, exact)
        what = f"attention {name}, {str(dtype).removeprefix('torch.')}: error against fp64"
        yield Row(what, 1e6 * off, "ppm", 1e6 * ATTENTION_OFF)
    servers, ask = _open(session), _asked(False)
    expected = _video(servers.reference, "t2v", "").frames
    for name in _in_torch(session.device):
        made = servers.ours.make(f"by{name}", ask.prompt).frames
        found = psnr(made, expected)
        yield Row(f"t2v, bf16, attention {name}, against the CPU's fp32", found, "dB", least=LEAST_DB["bf16"])


def cancel(session: Session) -> Iterator[Finding]:
    """Cancel a job in the middle of its steps; the device must be free at once, and the next job right."""
    place = _open(session).ours
    before = _video(place, "t2v", "-fp32")
    job = place.begin("large", _asked(False).prompt, **LONG)
    running = place.until(job, steps=CANCEL_AFTER)
    begun = time.perf_counter()
    place.ask(f"/v1/responses/{job}/cancel", "POST")
    answered = time.perf_counter() - begun
    after = _video(place, "t2v", "-fp32")
    freed = time.perf_counter() - begun
    ended = place.until(job)
    yield Row("cancelled jobs that did not end as cancelled", ended["status"] != "cancelled", "", 1)
    yield Row("steps done at the cancel", running.get("steps_done") or 0, f"of {LONG['steps']}", least=CANCEL_AFTER)
    yield Row("until the cancel was answered", 1000 * answered, "ms")
    yield Row("until the next job was done", 1000 * freed, "ms")
    yield Row("videos that changed after a cancel", after.digest != before.digest, "", 1)


def group_offload(session: Session) -> Iterator[Finding]:
    """Compare a video whose weights wait on the host with one whose weights are on the device."""
    place, ask = _open(session).ours, _asked(False)
    plain, offloaded = (place.make(name, ask.prompt) for name in ("t2v-fp32", "offloaded"))
    yield Row("group offload, against weights on the device", psnr(plain.frames, offloaded.frames), "dB", least=60.0)


def three_models_in_room_for_two(session: Session) -> Iterator[Finding]:
    """Serve three models in turn where two fit: switches, videos, and the plan against the card's count."""
    first, place = _open(session).ours, _tight(session)
    before = {kind: _video(first, kind, "-fp32") for kind in NAMES}
    for kind in NAMES[1:]:
        _video(place, kind, "-fp32")
    evicted = place.total("framegate_evictions_total")
    changed, gaps, seconds = 0, [], []
    for number in range(SWITCHES):
        kind = NAMES[number % len(NAMES)]
        begun = time.perf_counter()
        made = _video(place, kind, "-fp32")
        seconds.append(time.perf_counter() - begun)
        changed += made.digest != before[kind].digest
        if (held := place.measured(made.job)) is not None:
            gaps.append(held["allocated"] - place.planned())
    switches = place.total("framegate_evictions_total") - evicted
    yield Row("switches of three models in room for two", switches, f"in {SWITCHES} jobs", least=SWITCHES)
    yield Row("videos that changed after switches", changed, "", 1)
    yield Row("a job with a warm switch, median", 1000 * statistics.median(seconds[3:]), "ms")
    yield Row("bytes planned for the device", place.planned() / 1e6, "MB")
    if gaps:
        yield Row("allocated on the card beside the plan, most", max(gaps) / 1e6, "MB", BESIDE_MB)
        yield Row("of it more than after the third job", (max(gaps) - max(gaps[:3])) / 1e6, "MB", 1)
    else:
        yield "what PyTorch has allocated is counted on a GPU alone"


def out_of_memory(session: Session) -> Iterator[Finding]:
    """Run a job that cannot fit: it must end as out_of_memory, alone, and the next one be right."""
    place, ask = _open(session).ours, _asked(False)
    before = place.make("t2v-fp32", ask.prompt)
    with _little_memory(session):
        answer = place.try_to_make("large", f"{ask.prompt} {OUT_OF_MEMORY}", **(HUGE if not session.is_toy else {}))
        after = place.make("t2v-fp32", ask.prompt)
    code = (answer.get("error") or {}).get("code")
    yield f"a job that cannot fit ended with {code}"
    yield Row("jobs that cannot fit and end otherwise", code != "out_of_memory", "", 1)
    yield Row("videos that changed after one", after.digest != before.digest, "", 1)


@contextmanager
def _little_memory(session: Session) -> Iterator[None]:
    """Hold nearly all of the card's memory; on a CPU the probe raises what the allocator would."""
    if session.is_toy:
        yield
        return
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(session.device)
    held = torch.empty(max(0, free - LEFT_BYTES), dtype=torch.uint8, device=session.device)
    try:
        yield
    finally:
        del held
        torch.cuda.empty_cache()


def fault(session: Session) -> Iterator[Finding]:
    """Let a kernel fault: the engine must end, and another must run the same job again, rightly."""
    place, ask = _open(session).ours, _asked(False)
    before = place.make("t2v-fp32", ask.prompt)
    answer = place.try_to_make("t2v-fp32", f"{ask.prompt} {FAULT}")
    job = str(answer["id"]).removeprefix("resp_")
    attempt, status = place.row(job, "attempt, status")
    after = place.make("t2v-fp32", ask.prompt)
    yield Row("attempts of a job whose kernel faulted (wanted: 2)", attempt, "", 3, 2)
    yield Row("such jobs that do not complete", status != "completed", "", 1)
    yield Row("engines that went on after a fault", "the device cannot be used any more" not in place.log(), "", 1)
    yield Row("videos that changed after a fault", after.digest != before.digest, "", 1)


CHECKS: dict[str, Check] = {
    "frames against the CPU": frames,
    "same seed, same bytes": same_bytes,
    "each attention choice": attention,
    "cancel at a step": cancel,
    "three models in room for two": three_models_in_room_for_two,
    "group offload": group_offload,
    "out of memory": out_of_memory,
    "a kernel that faults": fault,
    "every kernel": every_kernel,
}
