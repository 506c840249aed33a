"""Measure a clip by computer vision: shape, colour, direction, background."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nano.scene import BACKGROUNDS, COLOURS, OUTLINES

SEEN_IN = 0.8  # the least share of the frames that must show a shape
CONTRAST = 40.0  # between shape and background, in levels of 0...255 (RGB distance)
AREA = (0.01, 0.5)  # of the frame
LIKENESS = 0.7  # the least overlap (intersection over union) of a shape with its outline
TRAVEL = 0.1  # the least distance of a motion, as a fraction of the frame's side
STRAIGHT = 1.5  # the least ratio of the distances along the two axes
_ZOOM = 4  # outlines are compared at a fraction of a pixel


@dataclass(frozen=True)
class Observation:
    """The aspects of a clip; None for an aspect that is not clear."""

    colour: str | None = None
    shape: str | None = None
    direction: str | None = None
    background: str | None = None


@dataclass(frozen=True)
class _Blob:
    mask: NDArray[np.bool_]  # zoomed
    middle: NDArray[np.float64]  # x, y in zoomed pixels
    colour: NDArray[np.float64]


def observe(clip: NDArray[np.uint8]) -> Observation:
    """Return the aspects of `clip`, `(n, height, width, 3)` RGB."""
    blobs, background = _blobs(clip)
    behind = _nearest(background, BACKGROUNDS)
    if len(blobs) < SEEN_IN * len(clip):
        return Observation(background=behind)
    height, width = clip.shape[1:3]
    return Observation(
        colour=_nearest(np.median([blob.colour for blob in blobs], axis=0), COLOURS),
        shape=_shape(blobs),
        direction=_direction(np.array([blob.middle for blob in blobs]) / _ZOOM / (width, height)),
        background=behind,
    )


def chroma(clip: NDArray[np.uint8]) -> float | None:
    """Return the chroma of a clip's shape, 0 for grey to 1.

    None for a clip without a clear shape.
    """
    blobs, _ = _blobs(clip)
    if not blobs:
        return None
    return float(np.ptp(np.median([blob.colour for blob in blobs], axis=0))) / 255.0


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of two pictures in decibels."""
    error = float(np.square(one.astype(np.float64) - other.astype(np.float64)).mean())
    return float("inf") if error == 0.0 else 10.0 * np.log10(255.0**2 / error)


def _blobs(clip: NDArray[np.uint8]) -> tuple[list[_Blob], NDArray[np.float64]]:
    """Return the patches of the frames, and the colour of the background."""
    background = np.median(np.concatenate([_border(frame) for frame in clip]), axis=0)
    return [blob for frame in clip if (blob := _find(frame, background)) is not None], background


def _border(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([frame[:2].reshape(-1, 3), frame[-2:].reshape(-1, 3), frame[:, 0], frame[:, -1]])


def _find(frame: NDArray[np.uint8], background: NDArray[np.float64]) -> _Blob | None:
    """Return the largest patch of another colour than the background."""
    distance = np.linalg.norm(frame.astype(np.float64) - background, axis=2)
    peak = float(np.quantile(distance, 0.97))
    if peak < CONTRAST:
        return None
    size = (frame.shape[1] * _ZOOM, frame.shape[0] * _ZOOM)
    # the patch's edge lies half way between the two colours
    mask = (cv2.resize(distance, size, interpolation=cv2.INTER_LINEAR) > peak / 2).astype(np.uint8)
    count, labels, stats, middles = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if not AREA[0] < stats[largest, cv2.CC_STAT_AREA] / mask.size < AREA[1]:
        return None
    patch = labels == largest
    inside = cv2.resize(patch.astype(np.float32), frame.shape[1::-1], interpolation=cv2.INTER_AREA) > 0.99
    if not inside.any():
        return None
    return _Blob(patch, middles[largest], np.median(frame[inside], axis=0))


def _nearest(colour: NDArray[np.float64], names: Mapping[str, tuple[int, int, int]]) -> str:
    """Return the name of the nearest colour in CIE Lab."""
    everything = np.array([colour, *names.values()], np.float32)[None] / 255.0
    mine, *others = cv2.cvtColor(everything, cv2.COLOR_RGB2LAB)[0]
    return list(names)[int(np.argmin([np.linalg.norm(mine - other) for other in others]))]


def _shape(blobs: list[_Blob]) -> str | None:
    likeness = {name: float(np.mean([_overlap(blob, name) for blob in blobs])) for name in OUTLINES}
    best = max(likeness, key=lambda name: likeness[name])
    return best if likeness[best] >= LIKENESS else None


def _overlap(blob: _Blob, shape: str) -> float:
    """Return the overlap of patch and outline, scaled to one area and one centre."""
    outline = OUTLINES[shape]
    scale = np.sqrt(blob.mask.sum() / cv2.contourArea(outline.astype(np.float32)))
    moments = cv2.moments(outline.astype(np.float32))
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    template = np.zeros(blob.mask.shape, np.uint8)
    cv2.fillPoly(template, [np.round((outline - centre) * scale + blob.middle).astype(np.int32)], 1)
    return float((blob.mask & (template > 0)).sum() / (blob.mask | (template > 0)).sum())


def _direction(path: NDArray[np.float64]) -> str | None:
    x, y = np.polyfit(np.arange(len(path)), path, 1)[0] * (len(path) - 1)
    if max(abs(x), abs(y)) < TRAVEL or max(abs(x), abs(y)) < STRAIGHT * min(abs(x), abs(y)):
        return None
    if abs(x) > abs(y):
        return "right" if x > 0 else "left"
    return "down" if y > 0 else "up"
