"""A check that a short video can be encoded and decoded."""

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from router.doctor.finding import DoctorContext, Finding, fail, ok, warn
from router.engine.encoder import encode_output
from router.errors import RouterError
from router.values import Frames

SIDE = 64


def check(context: DoctorContext) -> Iterator[Finding]:
    yield h264()


def h264() -> Finding:
    """Encode two frames as an engine does, and decode them."""
    if importlib.util.find_spec("av") is None:
        return warn("codecs", "PyAV is not installed: no engine can run here", "pip install 'framegate[engine]'")
    import av

    advice = "reinstall PyAV from a wheel: pip install --force-reinstall --only-binary :all: av"
    # black frames: the codec must work, the picture does not matter
    pixels = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "two.mp4")
            encode_output(Frames(iter([pixels]), 2, SIDE, SIDE, 8), path)
            with av.open(str(path)) as video:
                frames = sum(1 for _ in video.decode(video=0))
    except (OSError, ValueError, RouterError) as error:  # PyAV's own errors are of the first two kinds
        return fail("codecs", f"PyAV {av.__version__} cannot write H.264: {error}", advice)
    if frames != 2:
        return fail("codecs", f"PyAV {av.__version__} wrote 2 frames and read {frames}", advice)
    return ok("codecs", f"PyAV {av.__version__} writes and reads H.264")
