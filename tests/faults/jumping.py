"""Moves the wall clock of whatever process has loaded it, by the seconds that a file of the data folder says."""

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
