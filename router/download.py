"""Fetch a model from the hub, counting bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from router.errors import DownloadFailed

WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.onnx", "*.onnx.data", "*.onnx_data")


def snapshot(repo: str, revision: str | None, report: Callable[[int, int], None]) -> Path:
    """Fetch a repository's weights (safetensors) and settings at a revision, never its code; return the folder.

    `report(done, total)` counts bytes, and what it raises stops the download. Raises `DownloadFailed`.
    """
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    report(0, 1)
    try:
        folder = snapshot_download(repo, revision=revision, allow_patterns=list(WANTED), tqdm_class=_counting(report))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, HTTPError, OSError) as error:
        raise DownloadFailed(f"{repo} could not be fetched: {_reason(error)}") from error
    return Path(folder)


def _counting(report: Callable[[int, int], None]) -> Any:
    from tqdm.auto import tqdm

    class Counting(tqdm):  # type: ignore[misc]
        """A progress bar that shows nothing and reports bytes."""

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self.unit == "B":
                report(int(self.n), int(self.total or 0))
            return shown

        def display(self, *args: object, **kwargs: object) -> None:
            return

    return Counting


def _reason(error: Exception) -> str:
    """Return the first line of what the hub client says: the rest is advice about its own options."""
    if "ConnectError" in str(error):
        return "the hub cannot be reached"
    kind, (first, *_) = type(error).__name__, [*str(error).strip().splitlines(), ""]
    return f"{kind}: {first}" if first else kind
