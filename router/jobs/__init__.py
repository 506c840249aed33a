"""The job store: what was accepted, who works on it, what became of it."""

from router.jobs.database import Database
from router.jobs.engines import EngineStore
from router.jobs.store import JobStore

__all__ = ["Database", "EngineStore", "JobStore"]
