"""Where data and models file are without a setting."""

import os
import sys
from pathlib import Path

from router.runtime.variables import path


def data_folder() -> Path:
    return path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "framegate"


def models_file() -> Path:
    """Return the packaged models.yaml: beside the code in a checkout, in share/ when installed."""
    beside = Path(__file__).parents[2] / "models.yaml"
    return beside if beside.is_file() else Path(sys.prefix, "share", "framegate", "models.yaml")
