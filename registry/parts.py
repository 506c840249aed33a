"""Weight files in place of those in a model's folder, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

REPLACEABLE = ("transformer", "transformer_2", "text_encoder", "vae")


@dataclass(frozen=True)
class PartFile:
    """One part's weights: a file as `source`, or a `file` of a hub repository."""

    source: str
    file: str = ""
    revision: str | None = None


PartFiles = Mapping[str, PartFile]  # by part
NO_FILES: PartFiles = MappingProxyType({})
