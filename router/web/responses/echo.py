"""Values without effect on a video, as the answer repeats them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from router.errors import InvalidRequest, LimitExceeded
from router.web.responses.schema import AS_IS, COMPLETED

MOST_BYTES = 256 * 2**10  # of tools and formats: they are in the job's row, and in each snapshot of a stream
DEEPEST = 100


def echo(sent: Mapping[str, Any], tools: Sequence[Mapping[str, Any]], choice: Any) -> dict[str, Any]:
    """Return the keys that were sent, each complete by the answer's schema.

    `sent` was checked. Raises `LimitExceeded` for values too large for a job.
    """
    echoed = {name: sent[name] for name in AS_IS if name in sent}
    if tools:
        echoed["tools"] = list(tools)
    if choice != "auto":
        echoed["tool_choice"] = choice
    echoed |= {name: schema.dump(sent[name]) for name, schema in COMPLETED.items() if name in sent}
    for param, value in echoed.items():
        if _deeper(value, DEEPEST):
            raise InvalidRequest(f"{param} may nest {DEEPEST} levels deep, got more", param=param)
        if (got := len(json.dumps(value))) > MOST_BYTES:
            raise LimitExceeded(f"{param} may take {MOST_BYTES:,} bytes as JSON, got {got:,}", param=param)
    return echoed


def _deeper(value: Any, levels: int) -> bool:
    if levels == 0:
        return True
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(_deeper(entry, levels - 1) for entry in inside)
