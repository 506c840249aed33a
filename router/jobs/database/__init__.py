"""The database of a job store: an SQLite file, or PostgreSQL for many machines."""

from router.jobs.database.database import Database
from router.jobs.database.instant import Instant
from router.jobs.database.opening import bare_engine, open_database, open_if_there
from router.jobs.database.schema import upgrade
from router.jobs.database.sqlite import require_store

__all__ = ["Database", "Instant", "bare_engine", "open_database", "open_if_there", "require_store", "upgrade"]
