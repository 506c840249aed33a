"""The job store: what was accepted, who works on it, what became of it."""

from router.jobs.api_keys import ApiKeyStore
from router.jobs.archive import Archive
from router.jobs.database import Database, unusable
from router.jobs.engines import EngineStore
from router.jobs.paces import PaceStore
from router.jobs.probe import Probe
from router.jobs.revisions import RevisionStore
from router.jobs.room import Caps
from router.jobs.store import JobStore
from router.jobs.turns import Offer, Rules

__all__ = [
    "ApiKeyStore",
    "Archive",
    "Caps",
    "Database",
    "EngineStore",
    "JobStore",
    "Offer",
    "PaceStore",
    "Probe",
    "RevisionStore",
    "Rules",
    "unusable",
]
