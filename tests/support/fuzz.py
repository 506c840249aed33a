"""Random requests, hostile and plain, from a seed and existing job ids."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote

from conftest import data_url, png

METHODS = ("GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS", "TRACE", "BREW")
MODELS = ("any", "text", "image", "both", "ends", "org/text")
PICTURES = (data_url(png()), data_url(png(3, 200)), data_url(png(1, 1)), {"url": data_url(png())})
BAD_PICTURES = (
    "http://127.0.0.1:1/a.png", "http://10.0.0.1/a.png", "http://[::1]/", "ftp://localhost/a", "data:,a", "data:image/png;base64,%%%",
    data_url(png()[:60]), data_url(b"GIF89a" + bytes(30)), "http://", "//a", "a" * 5000, "http://localhost:99999/", "http://a b/",
)  # fmt: skip
TEXTS = (
    "a red ball",
    "",
    " \n\t",
    "a\0b",
    "\ud800",
    "🎈" * 50,
    "a" * 9000,
    "../../jobs.sqlite",
    "%s{0}$(id)",
    "null",
    "-1",
    "7",
)
JUNK = (
    None, True, False, 0, -1, 1, 1.5, 5.0, 2**31, 2**63, 10**40, -(10**30), 1e308, 5e-324, [], {}, [[]], [None], {"": None},
    {"url": 3}, ["a"] * 50, {"type": "function"}, {"role": "user"}, *TEXTS, *BAD_PICTURES,
)  # fmt: skip
NAMES = (
    *TEXTS[:8],
    "input",
    "model",
    "video",
    "image",
    "type",
    "name",
    "url",
    "seed",
    "steps",
    "prompt",
    "size",
    "__class__",
)
OPTIONS: dict[str, Sequence[Any]] = {
    "width": (64, 16, 128, 15, 70), "height": (64, 16, 128, 15, 70), "num_frames": (1, 2, 5, 9, 48, 49, 52), "steps": (1, 4, 60, 61),
    "frames_per_second": (1, 8, 60, 61), "guidance_scale": (0, 3.5, 20), "guidance_scale_2": (1, None), "flow_shift": (0.1, 100),
    "negative_prompt": TEXTS, "seed": (0, 7, 2**63 - 1), "response_format": ("url", "b64_json"), "last_image": PICTURES,
    "true_cfg_scale": (1,), "cfg_normalization": (True,), "adapters": ([], ["a"], [{"name": "a", "strength": 2}]),
}  # fmt: skip
PLAIN: dict[str, Sequence[Any]] = {  # names of other servers, those of images among them
    "num_inference_steps": (1, 4, 0), "fps": (8, 61, "8"), "num_frames": (1, 5), "width": (64,), "height": (64,), "guidance_scale": (1, 25),
    "image": PICTURES, "image_url": PICTURES, "last_frame": PICTURES, "mask": PICTURES, "extra_body": ({"steps": 4}, '{"fps": 8}', "{", {"image": PICTURES[0]}),
    "n": (1, 2), "lora": ("a", None, {"name": "a", "scale": 1}, {"name": "a", "path": "/a"}), "adapters": ([], ["a"], "a", ["a"] * 17), "user": TEXTS,
}  # fmt: skip
TOOLS = (
    {
        "type": "function",
        "name": "film",
        "parameters": {"properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
    },
    {"type": "web_search"},
)
RANGES = (
    "bytes=0-9",
    "bytes=-1",
    "bytes=9-",
    "bytes=5-2",
    "bytes=99999999-",
    "bytes=0-0,2-3",
    "items=1",
    "bytes=",
    "bytes=-" + "9" * 30,
)
HEADERS: dict[str, Sequence[str]] = {
    "Idempotency-Key": ("a", "b", "c", "k" * 255, "k" * 300, "", " ", "\xe9", "a b"),
    "x-request-id": ("mine", "a" * 200, "<b>", "\xff"), "Range": RANGES, "If-Range": ('"a"', "Mon, 01 Jan 2024 00:00:00 GMT"),
    "If-None-Match": ("*", '"a"', "W/"), "If-Match": ("*", '"a"'), "If-Modified-Since": ("Mon, 01 Jan 2035 00:00:00 GMT", "yesterday"),
    "Accept": ("text/html", "application/binary"), "Origin": ("http://localhost", "https://evil.example", "null"),
    "Authorization": ("Bearer none", "\xff"), "Content-Encoding": ("gzip",), "X-Forwarded-For": ("1.2.3.4",), "Host": ("localhost", "[", "a b"),
}  # fmt: skip
QUERIES: dict[str, Sequence[str]] = {
    "limit": ("0", "1", "100", "101", "-1", "x", "", "1e1", "٣"), "order": ("asc", "desc", "up"), "after": ("", "video_0", "msg_in_"),
    "q": ("", "a b", "%", "\\", "\0", "x" * 201), "model": ("", "any", "none", "\0"), "status": ("", "failed,queued", "done"),
    "variant": ("video", "thumbnail", "spritesheet", "last_frame", "preview", "gif"), "stream": ("true", "false", "1", "maybe"),
    "starting_after": ("0", "16", "999999999999999999", "-1", "x"), "include": ("message.input_image.image_url", "a,b", ""), "include[]": ("x",),
}  # fmt: skip
PATHS = (
    "/v1/responses/{resp}", "/v1/responses/{resp}", "/v1/responses/{resp}/cancel", "/v1/responses/{resp}/input_items", "/v1/videos",
    "/v1/videos/{video}", "/v1/videos/{video}/content", "/v1/videos/{video}/content", "/v1/images/{image}/content", "/v1/models",
    "/v1/models/{model}", "/healthz", "/readyz", "/v1/videos/edits", "/v1/videos/extensions/x", "/docs", "/openapi.json",
)  # fmt: skip
CREATE = (
    "/v1/responses",
    "/v1/responses",
    "/v1/videos",
    "/v1/videos",
    "/v1/videos/estimate",
    "/v1/videos/{video}/remix",
)
STRANGE = (
    "/",
    "",
    "//v1/videos",
    "/v1/videos/",
    "/v1/videos/%2e%2e/content",
    "/v1/videos/a%00b",
    "/v1/%ff",
    "/v1/responses/" + "a" * 3000,
    "/v1/images",
    "/static/x",
)
TYPES = (
    "application/json; charset=utf-8",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/mixed; boundary=b",
    "",
    "\xff/\xfe",
)


@dataclass(frozen=True)
class Asked:
    """A request as it is sent; the path and the query are percent-encoded."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Fuzzer:
    """Makes random requests; `ids` are of jobs, existing or deleted."""

    def __init__(self, seed: int, ids: list[str]) -> None:
        self._random = Random(seed)
        self._ids = ids

    def ask(self) -> Asked:
        creates = self._chance(0.5)
        path = self._path(self._one(CREATE if creates else PATHS))
        headers = {name: self._one(values) for name, values in HEADERS.items() if self._chance(0.04)}
        if path.endswith("content") and self._chance(0.4):
            headers["Range"] = self._one(RANGES)
        query = "&".join(
            f"{name}={quote(self._value(values))}" for name, values in QUERIES.items() if self._chance(0.12)
        )
        if path.startswith("/v1/responses/resp_") and self._chance(0.3):
            query = f"stream=true&{query}"
        body = self._body(path, headers) if creates or self._chance(0.05) else b""
        usual = "POST" if creates or path.endswith("/cancel") else "GET"
        method = self._one(METHODS) if self._chance(0.08) else "DELETE" if self._chance(0.08) and not creates else usual
        return Asked(method, path, query, headers, body)

    def video_body(self) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body of a request for a video."""
        headers: dict[str, str] = {}
        return headers, self._body("/v1/videos", headers)

    def _path(self, template: str) -> str:
        if self._chance(0.03):
            return self._one(STRANGE)
        job = self._one(self._ids) if self._ids and self._chance(0.9) else self._one(("0" * 32, "0", "", "A" * 32))
        ids = {kind: f"{kind}_{job}" for kind in ("resp", "video", "image")}
        if self._chance(0.03):
            ids = dict.fromkeys(ids, quote(self._text(), safe=""))
        return template.format(**ids, model=quote(self._one(MODELS), safe=self._one(("", "/"))))

    def _body(self, path: str, headers: dict[str, str]) -> bytes:
        body = self._response() if path == "/v1/responses" else self._video(remix=path.endswith("remix"))
        for _ in range(self._one((0, 0, 0, 1, 1, 3))):
            body = self._spoilt(body)
        if path != "/v1/responses" and isinstance(body, dict) and self._chance(0.5):
            headers["Content-Type"], data = self._form(body)
        else:
            headers["Content-Type"], data = "application/json", json.dumps(body, default=repr).encode()
        if self._chance(0.05):
            headers["Content-Type"] = self._one(TYPES)
        return self._broken(data) if self._chance(0.06) else data

    def _response(self) -> dict[str, Any]:
        picture = {"type": "input_image", "image_url": self._one(PICTURES)}
        content = [*[picture] * self._one((0, 1, 1, 2)), {"type": "input_text", "text": self._prompt()}]
        before = [
            {"role": "system", "content": "be brief"},
            {"type": "reasoning"},
            {"role": "assistant", "content": "no"},
        ]
        body: dict[str, Any] = {
            "input": self._one(
                (self._prompt(), [*before[: self._one((0, 0, 3))], {"role": "user", "content": content}])
            )
        }
        maybe: dict[str, Callable[[], Any]] = {
            "model": lambda: self._one(MODELS), "provider_options": self._options, "background": lambda: self._chance(0.7),
            "stream": lambda: self._chance(0.5), "store": lambda: self._chance(0.5), "seed": lambda: 7, "instructions": self._text,
            "metadata": lambda: {"a": "b"}, "tools": lambda: list(TOOLS), "tool_choice": lambda: self._one(("auto", "required", "none")),
            "text": lambda: {"format": {"type": "text"}}, "reasoning": lambda: {"effort": "low"}, "temperature": lambda: 1,
        }  # fmt: skip
        chances = {"model": 0.7, "provider_options": 0.7, "background": 0.7}
        return body | {name: make() for name, make in maybe.items() if self._chance(chances.get(name, 0.1))}

    def _video(self, *, remix: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"prompt": self._prompt()}
        if remix:
            return body
        picture = self._one((PICTURES[0], {"image_url": PICTURES[1]}, {"file_id": "a"}, png()))
        maybe = {
            "model": self._one(MODELS),
            "size": self._one(("64x64", "64X128", "9x9", "0x1", "axb")),
            "seconds": self._one(("1", 2, "0.5", "x", 9)),
        }
        maybe |= {"input_reference": picture, "provider_options": self._options(), "seed": 7}
        body |= {name: value for name, value in maybe.items() if self._chance(0.4)}
        return body | {name: self._one(values) for name, values in PLAIN.items() if self._chance(0.04)}

    def _options(self) -> dict[str, Any]:
        block = {name: self._one(values) for name, values in OPTIONS.items() if self._chance(0.15)}
        if self._chance(0.4):
            block |= {"width": 64, "height": 64, "num_frames": 5, "steps": 4}
        return {self._one(("video", "video", "video", "image", "image", "other")): block}

    def _spoilt(self, body: Any) -> Any:
        """Put junk in the place of something, or beside it, or take something away."""
        if not isinstance(body, dict | list) or not body or self._chance(0.2):
            return self._one(JUNK)
        keys = list(body) if isinstance(body, dict) else list(range(len(body)))
        key, change = self._one(keys), self._one(("within", "within", "without", "beside"))
        copy: Any = body.copy()
        if change == "without":
            del copy[key]
        elif change == "beside" and isinstance(copy, dict):
            copy[self._one(NAMES)] = self._one(JUNK)
        else:
            copy[key] = self._spoilt(body[key])
        return copy

    def _form(self, body: dict[str, Any]) -> tuple[str, bytes]:
        parts = b"".join(self._part(name, value) for name, value in _flat(body))
        return "multipart/form-data; boundary=edge", parts + b"--edge--\r\n"

    def _part(self, name: str, value: Any) -> bytes:
        data = (
            value
            if isinstance(value, bytes)
            else (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass")
        )
        label = name.encode("utf-8", "surrogatepass").replace(b'"', b"%22").replace(b"\n", b" ")
        file = (
            b'; filename="a.png"\r\nContent-Type: image/heic' if isinstance(value, bytes) or self._chance(0.03) else b""
        )
        return b'--edge\r\nContent-Disposition: form-data; name="' + label + b'"' + file + b"\r\n\r\n" + data + b"\r\n"

    def _broken(self, data: bytes) -> bytes:
        at = self._random.randrange(len(data) + 1)
        kind = self._one(("cut", "flip", "twice", "bytes", "deep", "empty"))
        made = {
            "cut": data[:at], "flip": data[:at] + bytes([self._random.randrange(256)]) + data[at + 1 :], "twice": data + data,
            "bytes": self._random.randbytes(at), "deep": b'{"input":' * 500, "empty": b"",
        }  # fmt: skip
        return made[kind]

    def _prompt(self) -> str:
        return self._text() if self._chance(0.1) else f"a ball of size {self._random.randrange(1000)}"

    def _text(self) -> str:
        return (
            self._one(TEXTS).encode("utf-8", "replace").decode()
            if self._chance(0.9)
            else self._random.randbytes(9).decode("latin-1")
        )

    def _value(self, values: Sequence[str]) -> str:
        if self._ids and values is QUERIES["after"] and self._chance(0.7):
            return f"video_{self._one(self._ids)}"
        return self._one(values)

    def _one(self, values: Sequence[Any]) -> Any:
        return values[int(self._random.random() * len(values))]

    def _chance(self, part: float) -> bool:
        return self._random.random() < part


def _flat(body: Any, name: str = "") -> list[tuple[str, Any]]:
    """Return the fields of a form: `a[b]`, `a[]`."""
    if isinstance(body, dict):
        return [part for key, value in body.items() for part in _flat(value, f"{name}[{key}]" if name else str(key))]
    if isinstance(body, list):
        return [part for value in body for part in _flat(value, f"{name}[]")]
    return [(name, body)]
