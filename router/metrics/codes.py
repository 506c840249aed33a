"""The error codes that may be labels."""

from __future__ import annotations

from router import errors

OTHER = "other"
RAISED = {  # by `raise`, beside the codes of error classes
    "disk_full",
    "image_url_refused",
    "invalid_form",
    "invalid_image",
    "invalid_json",
    "missing_required_parameter",
    "store_unavailable",
    "unknown_parameter",
}
KINDS = (errors.HttpError, errors.EngineError)
# a closed set: a plugin's codes would make labels without limit
CODES = RAISED | {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, KINDS)}


def label(code: str) -> str:
    """Return a code of ours unchanged, any other as `other`."""
    return code if code in CODES else OTHER
