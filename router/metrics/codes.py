"""The codes that an error of ours can have: a label has no others, whatever a plugin raises."""

from __future__ import annotations

from router import errors

OTHER = "other"
GIVEN = {  # by those who raise, beside the codes of the classes
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
CODES = GIVEN | {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, KINDS)}


def label(code: str) -> str:
    """Return the code if it is one of ours, else `other`."""
    return code if code in CODES else OTHER
