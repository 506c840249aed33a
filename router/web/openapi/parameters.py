"""The parameters of requests, and the headers of answers."""

from functools import partial
from typing import Any

from router.jobs.idempotency import HEADER


def _described(about: str, **schema: Any) -> dict[str, Any]:
    return {"description": about, "schema": schema}


def _parameter(location: str, name: str, about: str, **schema: Any) -> dict[str, Any]:
    entry = {"name": name, "in": location, **_described(about, **schema)}
    return {**entry, "required": True} if location == "path" else entry


in_query, _in_header, _in_path = (partial(_parameter, location) for location in ("query", "header", "path"))
HEADERS = {
    "x-request-id": _described("names this request in the server's log; yours, if you sent one", type="string"),
    "x-should-retry": _described(
        "`false`: the same request would fail again, so clients must not repeat it", enum=["false"]
    ),
    "www-authenticate": _described("`Bearer`: how to send a key", enum=["Bearer"]),
    "retry-after": _described("how many seconds to wait before the next try", type="integer", minimum=0, maximum=60),
    "openai-poll-after-ms": _described(
        "when to ask again for an unfinished video, in milliseconds", type="integer", minimum=0
    ),
    "etag": _described("changes with the file, to ask again with `If-None-Match`", type="string"),
    "accept-ranges": _described("`bytes`: parts of the file can be asked for", enum=["bytes"]),
    "content-range": _described("which part of the file this is, or how long the file is", type="string"),
    "x-video-id": _described("the video's id, for `GET /v1/videos/{video_id}`", type="string"),
    "x-model": _described("the model that ran", type="string"),
    "x-inference-time-s": _described("the seconds that its engine took", type="number"),
    "content-disposition": _described("the file's name", type="string"),
}
PATH = {
    name: _in_path(name, f"`{prefix}_` and the job's id", type="string", pattern=f"^{prefix}_[0-9a-f]{{32}}$")
    for name, prefix in (("response_id", "resp"), ("video_id", "video"), ("image_id", "image"))
}
PATH["file"] = _in_path("file", "the name of a file of the page", type="string", minLength=1)
PATH["engine_id"] = _in_path("engine_id", "the id of an engine that is listed", type="string", minLength=1)
PATH["n"] = _in_path("n", "the number of a revision", type="integer", minimum=1, maximum=10**18 - 1)
PATH["model"] = _in_path("model", "a name or an alias; slashes may stay as they are", type="string", minLength=1)
KEY = _in_header(
    HEADER,
    "the same request with the same key, sent again within 24 hours, is the same job",
    type="string",
    pattern="^[!-~]([ -~]{0,253}[!-~])?$",
)
RANGE = _in_header("Range", "one part of the file, such as `bytes=0-1023`", type="string")
KNOWN = _in_header("If-None-Match", "the `ETag` of a file that is there already", type="string")
LIMIT = in_query("limit", "how many entries a page may have", type="integer", minimum=0, maximum=100, default=20)
ORDER = in_query("order", "the newest first, or the oldest", enum=["desc", "asc"], default="desc")
AFTER = in_query("after", "the id of the entry that the page follows", type="string")
INCLUDE = in_query(
    "include", "`message.input_image.image_url` for the images themselves", type="array", items={"type": "string"}
)
STREAM = in_query("stream", "`true`: answer with server-sent events", type="boolean", default=False)
STARTING_AFTER = in_query(
    "starting_after",
    "with `stream`: the `sequence_number` of the last event that you have",
    type="integer",
    minimum=0,
    maximum=10**18 - 1,
)
EXPIRES = in_query("expires", "of a signed link: when it opens nothing any more, in seconds since 1970", type="string")
SIGNATURE = in_query("signature", "of a signed link: what opens the file without a key", type="string")
