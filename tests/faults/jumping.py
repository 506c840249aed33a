"""Moves the wall clock of its process by the seconds in `jump`."""

import os
import time
from pathlib import Path

by = Path(os.environ["FRAMEGATE_DATA"]) / "jump"
true_time = time.time


def jumped_time():
    try:
        return true_time() + float(by.read_text())
    except (OSError, ValueError):
        return true_time()


time.time = jumped_time
