"""Downloads from the hub, with resume, progress and one process per repository."""

from router.catalog.download.cache_paths import Snapshots, begun, cached
from router.catalog.download.fetch_process import snapshot
from router.catalog.download.lock import fetching
from router.catalog.download.selection import MODEL, Selection
