"""The download process: `python -m router.catalog.download PARENT REPO [REVISION [WITHOUT [FILE...]]]`.

Without files it fetches the weights and settings of a model, but the weights of the parts in WITHOUT, as `a,b`. An
empty revision is the newest. It prints one line of JSON: the folder and size, or the error.
"""

import json
import signal
import sys

from router.catalog.download.fetch import fetch
from router.catalog.download.selection import Selection
from router.errors import DiskFull, DownloadFailed
from router.runtime.parent import die_with


def main(parent: int, repo: str, revision: str = "", without: str = "", *files: str) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    die_with(parent)
    try:
        selection = Selection(files, tuple(filter(None, without.split(","))))
        folder, size = fetch(repo, revision or None, selection)
    except (DownloadFailed, DiskFull) as error:
        print(json.dumps({"code": error.code, "message": error.message}))
        return 1
    print(json.dumps({"folder": str(folder), "size": size}))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
