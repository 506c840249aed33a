"""The job store: accepted jobs, their leases, engines and results."""

from router.jobs.accounts.budgets import BudgetStore
from router.jobs.accounts.ledger import Ledger
from router.jobs.accounts.owners import OwnerStore
from router.jobs.accounts.timings import TimingStore
from router.jobs.api_keys import ApiKeyStore
from router.jobs.archive import Archive
from router.jobs.database import Database, open_database, open_if_there
from router.jobs.database.schema import unusable
from router.jobs.engines import EngineStore
from router.jobs.facts import LINKS_SECRET, FactStore
from router.jobs.job_filter import JobFilter
from router.jobs.overview import Overview
from router.jobs.queue_limits import QueueLimits
from router.jobs.rates import RateStore
from router.jobs.revisions import RevisionStore
from router.jobs.scheduling import ClaimRequest, SchedulingPolicy
from router.jobs.store import JobStore
from router.jobs.waiters import WaiterStore
from router.jobs.write_probe import Probe

__all__ = [
    "LINKS_SECRET",
    "ApiKeyStore",
    "Archive",
    "BudgetStore",
    "ClaimRequest",
    "Database",
    "EngineStore",
    "FactStore",
    "JobFilter",
    "JobStore",
    "Ledger",
    "Overview",
    "OwnerStore",
    "Probe",
    "QueueLimits",
    "RateStore",
    "RevisionStore",
    "SchedulingPolicy",
    "TimingStore",
    "WaiterStore",
    "open_database",
    "open_if_there",
    "unusable",
]
