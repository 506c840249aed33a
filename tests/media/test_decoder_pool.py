"""Decoding in child processes: any picture costs bounded time and memory."""

import gc
import io
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from support.damage import corpus
from support.patience import until
from support.pictures import LINE, Case, animations, chunk, encoded, png, scene, whole

from router.errors import InvalidRequest, TooManyWaiters, Unavailable
from router.media import Decoders, PreparedImage, inspect
from router.media.pixels import decode, fit, to_png

ROOT = Path(__file__).parents[2]
MEGABYTE = 2**20
SIZE = (64, 64)
SMALL = encoded(scene(61, 47), "PNG")
# What a picture may take is 50 ns a pixel and 50 ms, which `PIXEL` and `PICTURE` are four times as much of: the tests
# share their cores.
PIXEL, PICTURE = 200e-9, 0.2
LIBRARIES = 150 * MEGABYTE


@pytest.fixture
def own() -> Iterator[Decoders]:
    """Yield decoders for one test, which may end their children."""
    decoders = Decoders()
    yield decoders
    decoders.close()


def child() -> psutil.Process:
    """Return the newest of the children."""
    found = [one for one in psutil.Process().children() if "router.media.decoder_child" in " ".join(one.cmdline())]
    return max(found, key=lambda one: one.create_time())


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running()


@contextmanager
def no_more_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@cache
def slow() -> bytes:
    """Return a legal picture that takes a second."""
    return png(7000, 7000, 6, 16)


@dataclass(frozen=True)
class Cost:
    """The seconds of a core and peak bytes of a child for a picture."""

    seconds: float
    memory: int
    refusal: str


def refusal_of(decoders: Decoders, data: bytes) -> str:
    """Return the message of a refusal, empty for an accepted picture."""
    try:
        decoders.prepare(data, SIZE, 64 * 64)
    except InvalidRequest as error:
        return error.message if error.code == "invalid_image" else error.code
    return ""


def cost(decoders: Decoders, process: psutil.Process, data: bytes) -> Cost:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the high-water mark begins anew
    before = sum(process.cpu_times()[:2])
    refusal = refusal_of(decoders, data)
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    return Cost(sum(process.cpu_times()[:2]) - before, peak, refusal)


def pixels_of(data: bytes) -> int:
    try:
        info = inspect(data)
    except InvalidRequest:
        return 0
    return info.width * info.height


def held(decoders: Decoders, cases: Iterator[Case]) -> int:
    """Check each picture's cost, and return the number of accepted ones."""
    decoders.prepare(SMALL, SIZE)
    process, taken = child(), 0
    for case in cases:
        pixels, found = pixels_of(case.data), cost(decoders, process, case.data)

        assert found.seconds < pixels * PIXEL + PICTURE, case.name
        assert found.memory < 5 * 3 * pixels + LIBRARIES, case.name
        taken += not found.refusal
    assert child().pid == process.pid  # none of them ended it
    return taken


def test_a_corpus_of_pictures_costs_what_their_headers_say(
    own: Decoders, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    list(corpus(250, 1))  # so that what makes them has its memory
    gc.collect()
    before = psutil.Process().memory_info().rss

    assert 50 < held(own, corpus(250, 1)) < 220
    assert capfd.readouterr() == ("", "")
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert psutil.Process().memory_info().rss - before < 64 * MEGABYTE


@pytest.mark.storm
def test_five_thousand_pictures_cost_what_their_headers_say(own: Decoders, capfd: pytest.CaptureFixture[str]) -> None:
    assert 500 < held(own, corpus(5000, 20261129)) < 4500
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("case", whole(24, 20), ids=lambda case: case.name)
def test_a_whole_picture_is_taken_and_a_truncated_one_is_refused(decoders: Decoders, case: Case) -> None:
    assert decode(decoders.prepare(case.data, SIZE).png).shape in ((20, 24, 3), (24, 20, 3))

    behind = 60 if "EXIF" in case.name or "alpha" in case.name else 0  # a WebP's EXIF, which is no pixel
    for length in range(0, len(case.data) - behind, 1 + len(case.data) // 12):
        with pytest.raises(InvalidRequest):
            decoders.prepare(case.data[:length], SIZE)
    if not behind:
        with pytest.raises(InvalidRequest):
            decoders.prepare(case.data[:-2], SIZE)  # the last byte may be one that fills up


@pytest.mark.parametrize("case", animations(), ids=lambda case: case.name)
def test_an_animation_is_refused(decoders: Decoders, case: Case) -> None:
    with pytest.raises(InvalidRequest):
        decoders.prepare(case.data, SIZE)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_cut_and_ended_is_refused(decoders: Decoders, progressive: bool) -> None:
    """The library invents the rest, and says so on standard error only."""
    data = encoded(scene(640, 480), "JPEG", progressive=progressive)

    with pytest.raises(InvalidRequest, match="ends too early"):
        decoders.prepare(data[: len(data) * 2 // 3] + b"\xff\xd9", SIZE)


@pytest.mark.parametrize("shape", [(64, 64), (61, 47), (1, 1), (640, 480)])
def test_a_picture_within_the_limit_stays_as_it_is(decoders: Decoders, shape: tuple[int, int]) -> None:
    data = encoded(scene(*shape), "PNG")

    assert decoders.prepare(data, SIZE, 640 * 480) == PreparedImage(to_png(decode(data)))


@pytest.mark.parametrize("shape", [(640, 480), (480, 640), (2000, 60), (61, 2000), (1001, 333)])
@pytest.mark.parametrize("size", [(64, 64), (128, 32), (32, 128)])
def test_a_larger_one_makes_the_same_video_as_before(
    decoders: Decoders, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    data, limit = encoded(scene(*shape), "PNG"), 4096
    stored = decode(decoders.prepare(data, size, limit).png)

    assert stored.shape[0] * stored.shape[1] <= limit
    difference = fit(stored, *size).astype(int) - fit(decode(data), *size)
    if max(size[0] / shape[0], size[1] / shape[1]) <= 1:
        assert not difference.any()
    else:  # it is enlarged when the video is made
        assert (stored.shape[0] <= shape[1], stored.shape[1] <= shape[0]) == (True, True)
        assert np.abs(difference).mean() < 3


def test_what_comes_out_is_upright_in_srgb_and_without_metadata(decoders: Decoders) -> None:
    block = Image.Exif()
    block[0x0112] = 6
    data = encoded(scene(61, 47), "JPEG", exif=block.tobytes(), comment=b"a secret")
    made = decoders.prepare(data, SIZE).png

    assert Image.open(io.BytesIO(made)).size == (47, 61)
    assert (Image.open(io.BytesIO(made)).mode, Image.open(io.BytesIO(made)).info) == ("RGB", {})


def test_notes_on_colours_come_through(decoders: Decoders) -> None:
    data = png(8, 8, 2, 8, more=chunk(b"cICP", bytes([9, 16, 0, 1])))

    assert decoders.prepare(data, SIZE).notes == (
        "is HDR (PQ): it was mapped to sRGB, and its highlights were compressed",
    )


# what a picture does to its child


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_picture_that_ends_its_decoder_is_refused_and_the_next_is_taken(
    own: Decoders, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    own.prepare(SMALL, SIZE)
    process = child()
    with ThreadPoolExecutor(1) as pool:
        slow_one = pool.submit(own.prepare, slow(), SIZE, param="input")
        until(lambda: process.memory_info().rss > 150 * MEGABYTE)
        process.send_signal(number)
        with pytest.raises(InvalidRequest) as refused:
            slow_one.result()

    assert (refused.value.code, refused.value.param) == ("invalid_image", "input")
    assert f"ended its decoder: it ended by {number.name}" in caplog.text
    assert decode(own.prepare(SMALL, SIZE).png).shape == (47, 61, 3)


def test_a_picture_that_takes_too_long_is_refused(own: Decoders) -> None:
    own.prepare(SMALL, SIZE)
    process = child()
    used = sum(process.cpu_times()[:2])
    assert process.rlimit(psutil.RLIMIT_CPU)[0] <= used + 4
    process.rlimit(psutil.RLIMIT_CPU, (int(used) + 1, int(used) + 1))

    with pytest.raises(InvalidRequest, match="cannot be decoded"):
        own.prepare(slow() if used % 1 > 0.3 else png(8000, 8000, 6, 16), SIZE)
    own.prepare(SMALL, SIZE)


def test_a_picture_that_takes_too_much_memory_is_refused(own: Decoders) -> None:
    own.prepare(SMALL, SIZE)
    process = child()
    assert process.rlimit(psutil.RLIMIT_DATA) == (1_200_000_000, 1_200_000_000)
    process.rlimit(psutil.RLIMIT_DATA, (300 * MEGABYTE, 300 * MEGABYTE))

    for kind in ("JPEG", "WEBP", "AVIF"):
        with pytest.raises(InvalidRequest):
            own.prepare(
                encoded(Image.new("RGB", (8000, 6000)), kind, **({"speed": 10} if kind == "AVIF" else {})), SIZE
            )
    own.prepare(SMALL, SIZE)
    assert child().pid == process.pid


def test_a_decoder_that_stands_still_is_replaced() -> None:
    own = Decoders(wall_seconds=1)
    own.prepare(SMALL, SIZE)
    child().suspend()

    with pytest.raises(InvalidRequest):
        own.prepare(SMALL, SIZE)
    own.prepare(SMALL, SIZE)
    own.close()


def test_a_decoder_that_was_killed_while_idle_is_replaced(own: Decoders) -> None:
    own.prepare(SMALL, SIZE)
    process = child()
    process.kill()
    until(lambda: process.status() == psutil.STATUS_ZOMBIE)

    assert own.prepare(SMALL, SIZE).png
    assert child().pid != process.pid


@pytest.mark.parametrize("killed", [False, True], ids=["the first", "another"])
def test_a_decoder_that_cannot_be_started_is_asked_for_later(own: Decoders, killed: bool) -> None:
    if killed:
        own.prepare(SMALL, SIZE)
        process = child()
        process.kill()
        until(lambda: process.status() == psutil.STATUS_ZOMBIE)
    with no_more_files(), pytest.raises(Unavailable):
        own.prepare(SMALL, SIZE)

    assert own.prepare(SMALL, SIZE).png


def test_an_idle_decoder_gives_its_memory_back_and_comes_again() -> None:
    own = Decoders(idle_seconds=0.2)
    for _ in range(2):
        own.prepare(SMALL, SIZE)
        until(partial(has_ended, child()))


def test_a_decoder_inherits_no_socket_and_no_secret(own: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEGATE_METRICS_KEY", "a secret")
    with socket.socket() as listener:
        listener.set_inheritable(True)
        own.prepare(SMALL, SIZE)
        process = child()
        open_files = [os.readlink(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()]

    assert {path.partition(":")[0] for path in open_files} <= {"pipe", "/memfd"}
    assert "FRAMEGATE_METRICS_KEY" not in process.environ()


@pytest.mark.slow
def test_decoders_die_with_their_process() -> None:
    code = (
        "import sys, psutil; from router.media import Decoders; Decoders().prepare(sys.stdin.buffer.read(), (64, 64));"
    )
    code += "print(*(one.pid for one in psutil.Process().children()), flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(SMALL)
        run.stdin.close()
        (process,) = (psutil.Process(int(word)) for word in run.stdout.readline().split())
        run.kill()
    until(partial(has_ended, process))


# who waits


def test_two_owners_decode_at_a_time_and_one_alone_one(own: Decoders) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: own.prepare(SMALL, SIZE, owner="a"), range(6)))
        assert len(psutil.Process().children()) >= 1
        count = len(
            [one for one in psutil.Process().children() if "router.media.decoder_child" in " ".join(one.cmdline())]
        )
        slow_one = pool.submit(own.prepare, slow(), SIZE, owner="a")
        until(lambda: child().memory_info().rss > 150 * MEGABYTE)
        own.prepare(SMALL, SIZE, owner="b")

        assert not slow_one.done()
        slow_one.result()
    after = len([one for one in psutil.Process().children() if "router.media.decoder_child" in " ".join(one.cmdline())])
    assert after == count + 1


def test_who_waits_too_long_for_a_decoder_is_asked_to_come_again() -> None:
    own = Decoders(wait_seconds=0.1)
    own.prepare(SMALL, SIZE)
    with ThreadPoolExecutor(1) as pool:
        slow_one = pool.submit(own.prepare, slow(), SIZE, owner="a")
        until(lambda: child().memory_info().rss > 150 * MEGABYTE)
        with pytest.raises(TooManyWaiters) as refused:
            own.prepare(SMALL, SIZE, owner="a")
        slow_one.result()

    assert (refused.value.status, dict(refused.value.headers)) == (429, {"retry-after": "5"})
    own.close()


# what libraries say


def test_what_libraries_say_is_one_bounded_line_of_our_log(
    own: Decoders, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    data = encoded(scene(640, 480), "JPEG")
    scan = data.index(b"\xff\xda")
    restarts = data[:scan] + b"\xff\xdd\0\4\0\1" + data[scan:-2] + b"\xff\xd0\xff\xd7" * 500 + b"\xff\xd9"
    own.prepare(restarts, SIZE)
    with pytest.raises(InvalidRequest):
        own.prepare(data[:-400] + b"\xff\xd9", SIZE)
    own.prepare(png(8, 8, 2, 8, more=chunk(b"iCCP", LINE[:70] + b"\0\0" + bytes(9))), SIZE)

    lines = [record.getMessage() for record in caplog.records if "a library says" in record.getMessage()]
    assert lines
    assert all(len(line) < 500 and line.isprintable() for line in lines)
    assert "forged" not in caplog.text
    assert capfd.readouterr() == ("", "")
