"""Detection of videos of one flat colour, a sign of a damaged model."""

import numpy as np
from numpy.typing import NDArray

from router import Pixels

LEVELS = 2  # of 255, between pixels of one colour
SAMPLE = 1024  # pixels of a chunk to read first: nearly every video has two colours among them


class FlatColour:
    """Track whether all pixels so far have one colour, within `LEVELS` in each channel."""

    def __init__(self) -> None:
        self._low: NDArray[np.uint8] = np.full(3, 255, np.uint8)
        self._high: NDArray[np.uint8] = np.zeros(3, np.uint8)
        self._varied = False

    def add(self, frames: Pixels) -> None:
        """Read frames `(n, height, width, 3)`; once two colours were found, read nothing."""
        pixels = frames.reshape(-1, 3)
        for selected in (pixels[:: max(1, len(pixels) // SAMPLE)], pixels):
            if not self._varied:
                self._widen(selected)

    def warnings(self) -> tuple[str, ...]:
        """Return a warning if the frames have one colour."""
        if self._varied or (self._low > self._high).any():  # no frame was read
            return ()
        red, green, blue = (
            int(low) + (int(high) - int(low)) // 2 for low, high in zip(self._low, self._high, strict=True)
        )
        return (
            f"every frame is one flat colour (red {red}, green {green}, blue {blue}): unless that was asked for, "
            "the model's weights may be damaged",
        )

    def _widen(self, pixels: Pixels) -> None:
        self._low, self._high = np.minimum(pixels.min(0), self._low), np.maximum(pixels.max(0), self._high)
        self._varied = bool((self._high.astype(int) - self._low > LEVELS).any())
