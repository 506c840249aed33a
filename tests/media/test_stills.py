"""Thumbnails and sheets: the right frames, in the right colours, at the right size."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from router.engine import encoder
from router.media.pixels import to_png
from router.media.stills import last_frame, spread, spritesheet, thumbnail
from router.values import Frames, Pixels


def colour(number: int) -> tuple[int, int, int]:
    return (number * 7 % 200 + 28, number * 31 % 200 + 28, number * 59 % 200 + 28)


def film(path: Path, count: int, width: int = 64, height: int = 64) -> Path:
    """Write a video with a colour for each frame."""
    frames = np.empty((count, height, width, 3), np.uint8)
    for number in range(count):
        frames[number] = colour(number)
    encoder.encode_output(Frames(iter([frames]), count, width, height, 8), path)
    return path


def shown(data: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def assert_colour(pixels: Pixels, number: int) -> None:
    assert np.abs(pixels.reshape(-1, 3).mean(0) - colour(number)).max() < 6, number


def test_a_thumbnail_is_the_first_frame_as_webp(tmp_path: Path) -> None:
    data = thumbnail(film(tmp_path / "1.mp4", 9))

    assert (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
    assert shown(data).shape == (64, 64, 3)
    assert_colour(shown(data), 0)


@pytest.mark.parametrize("count", [1, 5, 81])
def test_a_last_frame_is_whole_and_a_png(tmp_path: Path, count: int) -> None:
    data = last_frame(film(tmp_path / "1.mp4", count, 640, 352), count)

    assert data.startswith(b"\x89PNG")
    assert shown(data).shape == (352, 640, 3)
    assert_colour(shown(data), count - 1)


def test_a_video_of_fewer_frames_than_it_says_has_no_last_frame(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no frame 5"):
        last_frame(film(tmp_path / "1.mp4", 5), 9)


@pytest.mark.parametrize(
    ("width", "height", "made"),
    [(64, 32, (64, 32)), (1024, 512, (512, 256)), (512, 1024, (256, 512)), (2048, 16, (512, 4))],
)
def test_a_thumbnail_is_made_smaller_and_never_larger(
    tmp_path: Path, width: int, height: int, made: tuple[int, int]
) -> None:
    assert shown(thumbnail(film(tmp_path / "1.mp4", 1, width, height))).shape[1::-1] == made


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 5, 1), (9, 5, 2), (25, 5, 5), (26, 5, 5), (81, 5, 5)]
)
def test_a_sheet_has_the_frames_in_rows_of_five(tmp_path: Path, count: int, columns: int, rows: int) -> None:
    data = spritesheet(film(tmp_path / "1.mp4", count), count)
    sheet = shown(data)

    assert data[:3] == b"\xff\xd8\xff"
    assert sheet.shape == (rows * 64, columns * 64, 3)
    tiles = [sheet[y : y + 64, x : x + 64] for y in range(0, rows * 64, 64) for x in range(0, columns * 64, 64)]
    wanted = spread(count, 25)
    for tile, number in zip(tiles, wanted, strict=False):
        assert_colour(tile[4:60, 4:60], number)
    for tile in tiles[len(wanted) :]:
        assert tile[4:, 4:].max() < 8  # colour runs a little over the edges of a JPEG


def test_tiles_are_at_most_256_pixels(tmp_path: Path) -> None:
    assert shown(spritesheet(film(tmp_path / "1.mp4", 5, 512, 256), 5)).shape == (128, 5 * 256, 3)


def test_frames_are_spread_evenly_with_the_first_and_the_last() -> None:
    for count in range(1, 200):
        numbers = spread(count, 25)
        gaps = {after - before for before, after in pairwise(numbers)}
        assert (len(numbers), numbers[0], numbers[-1]) == (min(count, 25), 0, count - 1)
        assert gaps <= {count // 24 - 1, count // 24, count // 24 + 1}
        assert all(gap > 0 for gap in gaps)


def test_a_single_image_has_a_thumbnail_and_a_sheet_of_one(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(to_png(np.full((64, 32, 3), colour(3), np.uint8)))

    for data in (thumbnail(path), spritesheet(path, 1), last_frame(path, 1)):
        assert shown(data).shape == (64, 32, 3)
        assert_colour(shown(data), 3)


def test_a_file_that_is_no_video_or_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "2.mp4").write_bytes(b"no video")

    with pytest.raises(ValueError, match="has no frame 0"):
        thumbnail(tmp_path / "2.mp4")
    with pytest.raises(ValueError, match="has no frame 5"):
        spritesheet(film(tmp_path / "1.mp4", 5), 9)
