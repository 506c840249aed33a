"""How a caller wants the answer shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any


class Dialect(StrEnum):
    """The HTTP API of a request."""

    RESPONSES = "responses"
    VIDEOS = "videos"


class OutputPart(StrEnum):
    """The type of the output part; text is for clients without media types."""

    TEXT = "output_text"
    VIDEO = "output_video"
    IMAGE = "output_image"


@dataclass(frozen=True)
class Presentation:
    """The caller's choices for the answer; only the renderers of `router.web` read them.

    `inline` puts the file into the answer, in base64. An `attended` job is cancelled when its caller disconnects.
    `instructions` and `system` (texts of system and developer messages) are the beginning of the task's prompt,
    `prompt` is the user's own text; None where that is the whole prompt. `seconds` is the length as it was sent.
    `remixed_from` is the id of the source job. `text_output` adds a text part with the link; `file_format` is the
    format of a single image. `siblings` are the ids of the other jobs of a request for several images. `echoed` holds
    further keys of the request, JSON values that the answer repeats.
    """

    dialect: Dialect = Dialect.RESPONSES
    part: OutputPart = OutputPart.VIDEO
    inline: bool = False
    attended: bool = False
    background: bool = True
    store: bool = True
    instructions: str | None = None
    system: tuple[str, ...] = ()
    prompt: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    remixed_from: str | None = None
    text_output: bool = False
    file_format: str = ""
    siblings: tuple[str, ...] = ()
    echoed: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Presentation:
        """Return the presentation behind the JSON of a job's row, of older versions too."""
        known = {name: value for name, value in row.items() if name in ROW_FIELDS}
        return cls(
            **{
                **known,
                "dialect": Dialect.VIDEOS if "seconds" in row else Dialect.RESPONSES,
                "part": OutputPart(row.get("part", OutputPart.VIDEO)),
                "system": tuple(row.get("system", ())),
                "siblings": tuple(row.get("siblings", ())),
                "echoed": {name: value for name, value in row.items() if name not in ROW_FIELDS},
            }
        )

    def as_row(self) -> dict[str, Any]:
        # The digest of an idempotency key is made of this object: a key that an older version stored must still match,
        # so each dialect has its fixed fields, and a newer field is there only where it has a value.
        row = {name: getattr(self, name) for name in FIXED[self.dialect]}
        row |= {name: value for name in ADDED if (value := getattr(self, name))}
        return {**row, **self.echoed}


FIXED = {
    Dialect.RESPONSES: ("part", "inline", "metadata", "instructions", "background", "store", "attended"),
    Dialect.VIDEOS: ("part", "seconds"),
}
ADDED = ("remixed_from", "system", "prompt", "attended", "inline", "text_output", "file_format", "siblings")
ROW_FIELDS = {each.name for each in fields(Presentation)} - {"dialect", "echoed"}
