"""Videos of one flat colour, which a damaged model makes of finite numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router import Pixels

LEVELS = 2  # of 255, by which the pixels of one colour may differ
SAMPLE = 1024  # pixels of a chunk that are looked at first: nearly every video has two colours among them


class FlatColour:
    """Whether all pixels of the frames seen so far have one colour, to `LEVELS` in each channel."""

    def __init__(self) -> None:
        self._low: NDArray[np.uint8] | None = None
        self._high: NDArray[np.uint8] | None = None
        self._varied = False

    def see(self, frames: Pixels) -> None:
        """Look at frames `(n, height, width, 3)`; nothing is looked at once two colours were found."""
        pixels = frames.reshape(-1, 3)
        for some in (pixels[:: max(1, len(pixels) // SAMPLE)], pixels):
            if not self._varied:
                self._widen(some)

    def warnings(self) -> tuple[str, ...]:
        """Return a sentence for the caller if the frames have one colour."""
        if self._varied or self._low is None or self._high is None:
            return ()
        red, green, blue = (
            int(low) + (int(high) - int(low)) // 2 for low, high in zip(self._low, self._high, strict=True)
        )
        return (
            f"every frame is one flat colour (red {red}, green {green}, blue {blue}): unless that was asked for, "
            "the model's weights may be damaged",
        )

    def _widen(self, pixels: Pixels) -> None:
        low, high = pixels.min(0), pixels.max(0)
        self._low = low if self._low is None else np.minimum(low, self._low)
        self._high = high if self._high is None else np.maximum(high, self._high)
        self._varied = bool((self._high.astype(int) - self._low > LEVELS).any())
