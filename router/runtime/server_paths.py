"""Server paths in messages: clients read file names, the log has the folders.

Our own messages name no folders; this is the last barrier, for those of libraries and plugins.
"""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from registry.folders import hub_cache

END = r"\s'\"`,;:()<>\[\]{}|*?"  # characters that end a path without quotes
QUOTED = re.compile(r"(?P<quote>['\"`])(?:file://)?~?(?P<path>/(?!v1/)[^'\"`\n/]+/[^'\"`\n]*)(?P=quote)")
BARE = re.compile(rf"(?:\bfile://|(?<![\w./~-]))~?(?P<path>/(?!v1/)[^/{END}]+(?:/[^/{END}]*)+)")
CODE = Path(__file__).parents[2]


class ServerPaths:
    """Replaces absolute paths with their last names, except the API's own (`/v1/...`)."""

    def __init__(self, folders: Iterable[Path]) -> None:
        own = {os.path.abspath(path) for path in folders}
        known = own | {str(CODE), sys.prefix, sys.base_prefix, str(hub_cache.root()), os.path.expanduser("~"), "/tmp"}
        known |= {os.path.realpath(path) for path in known}
        roots = "|".join(re.escape(root) for root in sorted(known - {os.sep}, key=len, reverse=True))
        self._known = re.compile(rf"(?<![\w./-])(?:{roots})(?P<path>(?:/[^{END}]*)?)(?![\w-])")

    def hide(self, text: str) -> str:
        if "/" not in text:
            return text
        text = QUOTED.sub(lambda found: f"{found['quote']}{_name(found['path'])}{found['quote']}", text)
        text = self._known.sub(lambda found: _name(found["path"]), text)
        return BARE.sub(lambda found: _name(found["path"]), text)


def _name(path: str) -> str:
    """Return the last name of a path, `...` for a known folder itself."""
    return path.rstrip("/.").rpartition("/")[2] or "..."
