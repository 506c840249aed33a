"""Fetch models from the hub: by one process at a time, so that what breaks goes on and everybody sees how far it is."""

from router.download.places import begun, cached
from router.download.snapshot import snapshot
from router.download.snapshots import Snapshots
from router.download.turn import fetching

__all__ = ["Snapshots", "begun", "cached", "fetching", "snapshot"]
