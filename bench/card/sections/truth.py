"""Correctness on the card: videos, kernels, attention, cancels, memory, faults."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.card import kernels
from bench.card.accuracy import exact_attention, relative_error
from bench.card.servers import DTYPES, KINDS, NAMES, clip_request, servers_of, tight_server, torch_attention, video_of
from bench.card.session import Check, Finding, Session
from bench.card.videos import largest, psnr
from bench.plugins.probe import FAULT, OUT_OF_MEMORY
from bench.tools.table import Row
from plugins.diffusers_backend.dit.attention import attend
from plugins.diffusers_backend.options import ATTENTION

LEAST_DB = {"fp32": 45.0, "bf16": 30.0}  # against diffusers' own passes in fp32 on a CPU
HUGE = {"width": 2048, "height": 2048, "num_frames": 49, "steps": 1}
LEFT_BYTES = 600 * 2**20  # free on the card during a job that needs more
LONG = {"steps": 1000}
CANCEL_AFTER = 3  # steps
QUERIES, TOKENS = 64, 4096  # of the attention compared with fp64
ATTENTION_OFF = 1e-2  # relative in the 2-norm: a few roundings of bf16
BESIDE_MB = 200.0  # on the card beside the plan: workspaces of cuBLAS and cuDNN
SWITCHES = 9  # jobs, alternating between three models
TOY_SAME = [("t2v", "fp32"), ("t2v", "bf16"), ("ti2v with an image", "fp32")]  # a CPU takes a second for each video
FROM_HUB = ("_hub",)  # kernels that need a download; a run has no network


def frames(session: Session) -> Iterator[Finding]:
    servers = servers_of(session)
    for kind in KINDS:
        expected = video_of(servers.reference, kind, "").frames
        for dtype in DTYPES:
            made = video_of(servers.ours, kind, f"-{dtype}").frames
            what = f"{kind}, {dtype}, against the CPU's fp32"
            yield Row(what, psnr(made, expected), "dB", least=LEAST_DB[dtype])
            yield Row(f"{what}, largest difference", largest(made, expected), "levels")


def same_bytes(session: Session) -> Iterator[Finding]:
    servers = servers_of(session)
    twice = restarted = 0
    wanted = TOY_SAME if session.is_toy else [(kind, dtype) for kind in KINDS for dtype in DTYPES]
    for kind, dtype in wanted:
        first, second = (video_of(servers.ours, kind, f"-{dtype}") for _ in range(2))
        twice += first.digest != second.digest
        restarted += first.digest != video_of(tight_server(session), kind, f"-{dtype}").digest
    count = len(wanted)
    yield Row(f"same seed, other bytes, made twice, of {count} videos", twice, "", 1)
    yield Row(f"same seed, other bytes after a restart, of {count} videos", restarted, "", 1)


def every_kernel(session: Session) -> Iterator[Finding]:
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
    """Compare each attention choice with fp64; name the missing ones with reasons."""
    dtype = torch.float32 if session.is_toy else torch.bfloat16
    tokens, heads, head = (256, 2, 32) if session.is_toy else (TOKENS, 12, 128)
    made = torch.Generator(session.device).manual_seed(1)
    query, key, value = torch.randn(3, 1, tokens, heads, head, generator=made, device=session.device).to(dtype)
    some = torch.linspace(0, tokens - 1, QUERIES, device=session.device).long()
    exact = exact_attention(query[:, some], key, value)
    for name in ATTENTION[1:]:
        if name.endswith(FROM_HUB):
            yield f"attention {name}: not tried, it is fetched from a hub"
            continue
        try:
            got = attend(query, key, value, None, name)[:, some]
        except Exception as error:  # any error of a backend is a finding
            yield f"attention {name}: not here, {type(error).__name__}: {str(error).strip()[:120]}"
            continue
        off = relative_error(got, exact)
        what = f"attention {name}, {str(dtype).removeprefix('torch.')}: error against fp64"
        yield Row(what, 1e6 * off, "ppm", 1e6 * ATTENTION_OFF)
    servers, request = servers_of(session), clip_request(False)
    expected = video_of(servers.reference, "t2v", "").frames
    for name in torch_attention(session.device):
        made = servers.ours.make(f"by{name}", request.prompt).frames
        found = psnr(made, expected)
        yield Row(f"t2v, bf16, attention {name}, against the CPU's fp32", found, "dB", least=LEAST_DB["bf16"])


def cancel(session: Session) -> Iterator[Finding]:
    """Cancel a running job: the device must be free, the next job right."""
    studio = servers_of(session).ours
    before = video_of(studio, "t2v", "-fp32")
    job = studio.begin("large", clip_request(False).prompt, **LONG)
    running = studio.until(job, steps=CANCEL_AFTER)
    begun = time.perf_counter()
    studio.ask(f"/v1/responses/{job}/cancel", "POST")
    answered = time.perf_counter() - begun
    after = video_of(studio, "t2v", "-fp32")
    freed = time.perf_counter() - begun
    ended = studio.until(job)
    yield Row("cancelled jobs that did not end as cancelled", ended["status"] != "cancelled", "", 1)
    yield Row("steps done at the cancel", running.get("steps_done") or 0, f"of {LONG['steps']}", least=CANCEL_AFTER)
    yield Row("until the cancel was answered", 1000 * answered, "ms")
    yield Row("until the next job was done", 1000 * freed, "ms")
    yield Row("videos that changed after a cancel", after.digest != before.digest, "", 1)


def group_offload(session: Session) -> Iterator[Finding]:
    studio, request = servers_of(session).ours, clip_request(False)
    plain, offloaded = (studio.make(name, request.prompt) for name in ("t2v-fp32", "offloaded"))
    yield Row("group offload, against weights on the device", psnr(plain.frames, offloaded.frames), "dB", least=60.0)


def three_models_in_memory_for_two(session: Session) -> Iterator[Finding]:
    """Alternate between three models in memory for two; check videos and plan."""
    first, studio = servers_of(session).ours, tight_server(session)
    before = {kind: video_of(first, kind, "-fp32") for kind in NAMES}
    for kind in NAMES[1:]:
        video_of(studio, kind, "-fp32")
    evicted = studio.total("framegate_evictions_total")
    changed, gaps, seconds = 0, [], []
    for number in range(SWITCHES):
        kind = NAMES[number % len(NAMES)]
        begun = time.perf_counter()
        made = video_of(studio, kind, "-fp32")
        seconds.append(time.perf_counter() - begun)
        changed += made.digest != before[kind].digest
        if (held := studio.measured(made.job)) is not None:
            gaps.append(held["allocated"] - studio.planned())
    switches = studio.total("framegate_evictions_total") - evicted
    yield Row("switches of three models in room for two", switches, f"in {SWITCHES} jobs", least=SWITCHES)
    yield Row("videos that changed after switches", changed, "", 1)
    yield Row("a job with a warm switch, median", 1000 * statistics.median(seconds[3:]), "ms")
    yield Row("bytes planned for the device", studio.planned() / 1e6, "MB")
    if gaps:
        yield Row("allocated on the card beside the plan, most", max(gaps) / 1e6, "MB", BESIDE_MB)
        yield Row("of it more than after the third job", (max(gaps) - max(gaps[:3])) / 1e6, "MB", 1)
    else:
        yield "what PyTorch has allocated is counted on a GPU alone"


def out_of_memory(session: Session) -> Iterator[Finding]:
    """Run a job beyond the memory: it must fail alone."""
    studio, request = servers_of(session).ours, clip_request(False)
    before = studio.make("t2v-fp32", request.prompt)
    with _little_memory(session):
        options = {} if session.is_toy else HUGE
        answer = studio.try_to_make("large", f"{request.prompt} {OUT_OF_MEMORY}", **options)
        after = studio.make("t2v-fp32", request.prompt)
    code = (answer.get("error") or {}).get("code")
    yield f"a job that cannot fit ended with {code}"
    yield Row("jobs that cannot fit and end otherwise", code != "out_of_memory", "", 1)
    yield Row("videos that changed after one", after.digest != before.digest, "", 1)


@contextmanager
def _little_memory(session: Session) -> Iterator[None]:
    if session.is_toy:  # on a CPU the probe raises the allocator's error
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
    """Let a kernel fault: the engine must end, another one run the job."""
    studio, request = servers_of(session).ours, clip_request(False)
    before = studio.make("t2v-fp32", request.prompt)
    answer = studio.try_to_make("t2v-fp32", f"{request.prompt} {FAULT}")
    job = str(answer["id"]).removeprefix("resp_")
    attempt, status = studio.row(job, "attempt, status")
    after = studio.make("t2v-fp32", request.prompt)
    yield Row("attempts of a job whose kernel faulted (wanted: 2)", attempt, "", 3, 2)
    yield Row("such jobs that do not complete", status != "completed", "", 1)
    yield Row("engines that went on after a fault", "the device cannot be used any more" not in studio.log(), "", 1)
    yield Row("videos that changed after a fault", after.digest != before.digest, "", 1)


CHECKS: dict[str, Check] = {
    "frames against the CPU": frames,
    "same seed, same bytes": same_bytes,
    "each attention choice": attention,
    "cancel at a step": cancel,
    "three models in memory for two": three_models_in_memory_for_two,
    "group offload": group_offload,
    "out of memory": out_of_memory,
    "a kernel that faults": fault,
    "every kernel": every_kernel,
}
