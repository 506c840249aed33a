"""The parameters of requests, and the headers of answers."""

from __future__ import annotations

from typing import Any

from router.jobs.idempotency import HEADER
from router.web.openapi.operations import Parameter

HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "x-request-id": ("names this request in the server's log; yours, if you sent one", {"type": "string"}),
    "x-should-retry": (
        "`false`: the same request would fail again, so clients must not repeat it",
        {"enum": ["false"]},
    ),
    "www-authenticate": ("`Bearer`: how to send a key", {"enum": ["Bearer"]}),
    "retry-after": ("how many seconds to wait before the next try", {"type": "integer", "minimum": 0, "maximum": 60}),
    "openai-poll-after-ms": (
        "when to ask again for an unfinished video, in milliseconds",
        {"type": "integer", "minimum": 0},
    ),
    "etag": ("changes with the file, to ask again with `If-None-Match`", {"type": "string"}),
    "accept-ranges": ("`bytes`: parts of the file can be asked for", {"enum": ["bytes"]}),
    "content-range": ("which part of the file this is, or how long the file is", {"type": "string"}),
    "content-disposition": ("the file's name", {"type": "string"}),
}


def _id(name: str, prefix: str) -> Parameter:
    return Parameter(
        name, "path", f"`{prefix}_` and the job's id", {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{32}}$"}
    )


PATH = {
    "response_id": _id("response_id", "resp"),
    "video_id": _id("video_id", "video"),
    "image_id": _id("image_id", "image"),
    "model": Parameter(
        "model", "path", "a name or an alias; slashes may stay as they are", {"type": "string", "minLength": 1}
    ),
}
KEY = Parameter(
    HEADER,
    "header",
    "the same request with the same key, sent again within 24 hours, is the same job",
    {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
)
RANGE = Parameter("Range", "header", "one part of the file, such as `bytes=0-1023`", {"type": "string"})
KNOWN = Parameter("If-None-Match", "header", "the `ETag` of a file that is there already", {"type": "string"})
LIMIT = Parameter(
    "limit",
    "query",
    "how many entries a page may have",
    {"type": "integer", "minimum": 0, "maximum": 100, "default": 20},
)
ORDER = Parameter("order", "query", "the newest first, or the oldest", {"enum": ["desc", "asc"], "default": "desc"})
AFTER = Parameter("after", "query", "the id of the entry that the page follows", {"type": "string"})
INCLUDE = Parameter(
    "include",
    "query",
    "`message.input_image.image_url` for the images themselves",
    {"type": "array", "items": {"type": "string"}},
)
STREAM = Parameter("stream", "query", "`true`: answer with server-sent events", {"type": "boolean", "default": False})
STARTING_AFTER = Parameter(
    "starting_after",
    "query",
    "with `stream`: the `sequence_number` of the last event that you have",
    {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
)
EXPIRES = Parameter(
    "expires", "query", "of a signed link: when it opens nothing any more, in seconds since 1970", {"type": "string"}
)
SIGNATURE = Parameter("signature", "query", "of a signed link: what opens the file without a key", {"type": "string"})
