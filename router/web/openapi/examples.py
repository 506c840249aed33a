"""Bodies of examples, and commands for curl that work as they stand."""

import json
import re
import shlex
from typing import Any

from router.web.openapi.operations import JSON, Example, Operation

LOCAL = "http://localhost:8000"
WIDEST = 96  # characters of a line
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
CIRCLE = "a red circle moves right"
MOVED = [{"type": "input_image", "image_url": PIXEL}, {"type": "input_text", "text": "it moves left"}]
FROM_IMAGE = {"input": [{"role": "user", "content": MOVED}], "provider_options": {"video": {"steps": 8}}}


def curl(operation: Operation, example: Example, url: str) -> str:
    """Return the command; the ids in its path are words in capitals."""
    path = re.sub("{([a-z_]+)}", lambda name: name[1].upper(), operation.path)
    has_body = example.body or example.form
    method = "" if has_body or operation.method == "GET" else f"-X {operation.method}"
    words = ("curl -sS", method, shlex.quote(f"{url}{path}{example.query}"), example.flags)
    lines = [" ".join(filter(None, words))]
    if example.body:
        lines += [f"-H 'Content-Type: {JSON}'", f"-d {shlex.quote(_wrapped(example.body, 5))}"]
    lines += [f"-F {shlex.quote(f'{name}={value}')}" for name, value in (example.form or {}).items()]
    return " \\\n  ".join(lines)


def _wrapped(value: Any, column: int) -> str:
    """Return JSON wrapped at `WIDEST`; `column` is its first column."""
    line = json.dumps(value)
    if column + len(line) <= WIDEST or not value or not isinstance(value, dict | list):
        return line
    inner = column + 1
    if isinstance(value, list):
        return "[" + f",\n{' ' * inner}".join(_wrapped(entry, inner) for entry in value) + "]"
    pairs = ((f"{json.dumps(key)}: ", entry) for key, entry in value.items())
    return "{" + f",\n{' ' * inner}".join(key + _wrapped(entry, inner + len(key)) for key, entry in pairs) + "}"
