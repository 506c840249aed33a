"""Previews: at most one a second, removed after the run, never a failure."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from router.engine.previews import Previews
from router.media.stills import PREVIEW_SIDE
from router.storage.artifacts import ArtifactStore
from router.values import Pixels

JOB = "a" * 32
RED = np.full((48, 64, 3), (250, 10, 10), np.uint8)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def test_a_preview_is_a_small_picture_with_the_frames_aspect(store: ArtifactStore) -> None:
    Previews(store, JOB).show(lambda: RED)

    shown = cv2.imdecode(np.frombuffer(store.preview(JOB) or b"", np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (PREVIEW_SIDE * 48 // 64, PREVIEW_SIDE, 3)
    assert np.abs(shown[..., ::-1].mean(axis=(0, 1)) - RED[0, 0]).max() < 8


def test_one_a_second_is_made_and_the_others_are_not_even_asked_for(store: ArtifactStore) -> None:
    clock, asked = Clock(), []
    previews = Previews(store, JOB, clock)

    for tenth in range(30):
        clock.now = tenth / 10
        previews.show(lambda: asked.append(clock.now) or RED)  # type: ignore[func-returns-value]

    assert asked == [0.0, 1.0, 2.0]


def test_a_preview_that_cannot_be_made_is_tried_once_and_logged(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    clock, asked = Clock(), []
    previews = Previews(store, JOB, clock)

    def broken() -> Pixels:
        asked.append(1)
        raise RuntimeError("no colours")

    with caplog.at_level(logging.ERROR):
        for second in range(3):
            clock.now = float(second)
            previews.show(broken)

    assert asked == [1]
    assert "no preview" in caplog.text
    assert store.preview(JOB) is None


def test_nothing_is_left_when_the_run_has_ended(store: ArtifactStore, tmp_path: Path) -> None:
    previews = Previews(store, JOB)
    previews.show(lambda: RED)
    previews.clear()
    previews.clear()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_deleting_a_job_takes_its_preview_along(store: ArtifactStore) -> None:
    Previews(store, JOB).show(lambda: RED)
    store.delete(JOB)
    assert store.preview(JOB) is None


def test_a_preview_that_cannot_be_removed_ends_no_engine(
    store: ArtifactStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "previews" / f"{JOB}.jpg").mkdir(parents=True)  # as little removable as a file of a read-only disk

    Previews(store, JOB).clear()

    assert "the preview stays" in caplog.text
