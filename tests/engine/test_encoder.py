"""The encoder: equal files of equal frames, in the right colours, playable while loading."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from router.engine.encoder import encode_output
from router.errors import DiskFull, GenerationFailed, JobCancelled
from router.values import Frames, Pixels

av = pytest.importorskip("av")

ROOT = Path(__file__).parents[2]


def waves(count: int, width: int = 64, height: int = 64) -> Pixels:
    """Return smooth moving frames, on which x264's macroblock tree could give unstable bytes."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    frames = [(np.sin(x / 50 + n / 7), np.cos(y / 40 - n / 9), np.sin((x + y) / 90 + n / 5)) for n in range(count)]
    return (127.5 + 127 * np.stack([np.stack(planes, -1) for planes in frames])).astype(np.uint8)


def frames_of(pixels: Pixels, *, chunks: int = 1, rate: int = 16) -> Frames:
    count, height, width, _ = pixels.shape
    return Frames(iter(np.array_split(pixels, chunks)), count, width, height, rate)


def decoded(path: Path) -> Pixels:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def encoded(pixels: Pixels, path: Path, *, chunks: int = 1) -> str:
    """Encode and return the file's digest."""
    assert encode_output(frames_of(pixels, chunks=chunks), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_frame_comes_back_in_order(tmp_path: Path) -> None:
    pixels = waves(17)
    encoded(pixels, tmp_path / "a.mp4", chunks=5)

    shown = decoded(tmp_path / "a.mp4")
    assert shown.shape == (17, 64, 64, 3)
    assert np.abs(shown.astype(int) - pixels).mean() < 4


@pytest.mark.parametrize("rate", [1, 8, 16, 24, 60])
def test_the_rate_is_exact_and_the_stream_plays_anywhere(tmp_path: Path, rate: int) -> None:
    encode_output(frames_of(waves(5), rate=rate), tmp_path / "a.mp4")

    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(rate)
        assert (stream.frames, stream.width, stream.height) == (5, 64, 64)
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")


def test_the_index_stands_before_the_pictures(tmp_path: Path) -> None:
    encoded(waves(5), tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()

    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 50, 120)])
def test_colours_come_back_right_and_are_tagged(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    encoded(np.full((5, 64, 64, 3), colour, np.uint8), tmp_path / "a.mp4")

    assert np.abs(decoded(tmp_path / "a.mp4").astype(int) - colour).max() <= 3
    _, other = cv2.VideoCapture(str(tmp_path / "a.mp4")).read()
    assert np.abs(other[..., ::-1].astype(int) - colour).max() <= 3
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
        bt709, limited = 1, 1
        assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (bt709, bt709, bt709)
        assert frame.color_range == limited


@pytest.mark.slow
def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    pixels = waves(17, 832, 480)

    assert len({encoded(pixels, tmp_path / "a.mp4", chunks=chunks) for chunks in (1, 1, 1, 2, 5, 17)}) == 1


ENCODE = """
import sys
from pathlib import Path
from test_encoder import encoded, waves
print(encoded(waves(9, 416, 240), Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_other_processes_make_the_same_bytes(tmp_path: Path) -> None:
    digests = {encoded(waves(9, 416, 240), tmp_path / "a.mp4")}
    environment = {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "PATH": "/usr/bin:/bin"}
    for _ in range(3):
        command = [sys.executable, "-c", ENCODE, str(tmp_path / "b.mp4")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout.strip())

    assert len(digests) == 1


def test_one_frame_becomes_a_png_without_loss(tmp_path: Path) -> None:
    pixels = waves(1)
    encoded(pixels, tmp_path / "a.png")

    shown = cv2.imread(str(tmp_path / "a.png"))
    assert np.array_equal(shown[..., ::-1], pixels[0])


def test_frames_that_are_views_are_encoded_as_they_look(tmp_path: Path) -> None:
    pixels = waves(5)
    whole = encoded(np.ascontiguousarray(pixels[:, ::-1, ::-1]), tmp_path / "a.mp4")

    assert encoded(pixels[:, ::-1, ::-1], tmp_path / "a.mp4") == whole


def test_another_suffix_is_left_to_others(tmp_path: Path) -> None:
    frames = frames_of(waves(5))

    assert encode_output(frames, tmp_path / "a.webm") is None
    assert len(list(frames.pixels)) == 1


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        ([waves(4)], "announced 5 frames and made 4"),
        ([], "announced 5 frames and made 0"),
        ([waves(3), waves(3)], "announced 5 frames and made at least 6"),
        ([waves(5).astype(np.float32)], "must make uint8 .*, got float32"),
        ([waves(5, 32, 64)], r"shape \(n, 64, 64, 3\), got uint8 of shape \(5, 64, 32, 3\)"),
        ([waves(5)[0]], r"got uint8 of shape \(64, 64, 3\)"),
        ([[1, 2, 3]], "got list"),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".png"])
def test_frames_that_are_not_what_was_announced_fail_the_job(
    tmp_path: Path, pixels: list[Pixels], said: str, suffix: str
) -> None:
    frames = Frames(iter(pixels), 5, 64, 64, 16)

    with pytest.raises(GenerationFailed, match=said if suffix == ".mp4" else "takes one frame, the backend made 5"):
        encode_output(frames, tmp_path / f"a{suffix}")


@pytest.mark.parametrize("before", [0, 3])
def test_an_error_of_the_backend_passes_unchanged(tmp_path: Path, before: int) -> None:
    def pixels() -> Iterator[Pixels]:
        yield waves(5)[:before]
        raise JobCancelled("it is no longer ours")

    with pytest.raises(JobCancelled):
        encode_output(Frames(pixels(), 5, 64, 64, 16), tmp_path / "a.mp4")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize(("suffix", "count"), [(".mp4", 5), (".png", 1)])
def test_a_full_disk_is_said_to_be_full(tmp_path: Path, suffix: str, count: int) -> None:
    path = tmp_path / f"a{suffix}"
    path.symlink_to("/dev/full")

    with pytest.raises(DiskFull, match="disk is full"):
        encode_output(frames_of(waves(count)), path)


def test_a_missing_folder_is_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        encode_output(frames_of(waves(5)), tmp_path / "missing" / "a.mp4")
