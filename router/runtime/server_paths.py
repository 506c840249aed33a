"""Paths of this server in a message: a caller reads the names of files, the log has the rest.

Messages name models and parts by themselves. This is the last wall, for what libraries and plugins put into theirs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from registry.folders import hub_cache

END = r"\s'\"`,;:()<>\[\]{}|*?"  # what a path without quotes does not hold
QUOTED = re.compile(r"(?P<quote>['\"`])(?:file://)?~?(?P<path>/(?!v1/)[^'\"`\n/]+/[^'\"`\n]*)(?P=quote)")
BARE = re.compile(rf"(?:\bfile://|(?<![\w./~-]))~?(?P<path>/(?!v1/)[^/{END}]+(?:/[^/{END}]*)+)")
CODE = Path(__file__).parents[2]


class ServerPaths:
    """Hides absolute paths, known or not, but for the name at their end; the API's own (`/v1/...`) stay."""

    def __init__(self, folders: Iterable[Path]) -> None:
        own = {os.path.abspath(path) for path in folders}
        known = own | {str(CODE), sys.prefix, sys.base_prefix, str(hub_cache.root()), os.path.expanduser("~"), "/tmp"}
        known |= {os.path.realpath(path) for path in known}
        roots = "|".join(re.escape(root) for root in sorted(known - {os.sep}, key=len, reverse=True))
        self._known = re.compile(rf"(?<![\w./-])(?:{roots})(?P<path>(?:/[^{END}]*)?)(?![\w-])")

    def hide(self, text: str) -> str:
        """Return a message without the folders in it."""
        if "/" not in text:
            return text
        text = QUOTED.sub(lambda found: f"{found['quote']}{_name(found['path'])}{found['quote']}", text)
        text = self._known.sub(lambda found: _name(found["path"]), text)
        return BARE.sub(lambda found: _name(found["path"]), text)


def _name(path: str) -> str:
    """Return what is at the end of a path; of a folder that is known nothing but that there was one."""
    return path.rstrip("/.").rpartition("/")[2] or "..."
