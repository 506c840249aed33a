"""Removal of old jobs with their files, and of orphaned rows and files."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Event

from router.errors import is_disk_full, is_outage, is_unwritable, reason
from router.jobs import FactStore
from router.storage.artifacts import remove
from router.storage.usage import Usage
from router.system import System

SWEEP_SECONDS = 300.0
YOUNG_SECONDS = 3600.0  # a younger row without files, or files without a row, may be in the making
SWEPT_SINCE = "swept_since"  # the fact when the first machine of a shared store swept
READ_SECONDS = 600.0  # a file opened this recently may still be read
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Swept:
    """The counts of one sweep: jobs by age, jobs for disk space, orphans."""

    expired: int = 0
    evicted: int = 0
    orphans: int = 0


class Retention:
    """Removes what is due from a data folder; one process at a time."""

    def __init__(self, system: System, now: Callable[[], float] = time.time) -> None:
        self._system = system
        self._settings = system.settings
        self._archive = system.archive
        self._artifacts = system.artifacts
        self._is_shared = system.database.is_shared
        self._now = now

    def run(self, ended: Event) -> None:
        """Sweep every `SWEEP_SECONDS` until the event."""
        while not ended.wait(SWEEP_SECONDS):
            try:
                self.sweep()
            except Exception as error:  # the next sweep tries again
                if is_outage(error):  # of that the log has a line already
                    continue
                known = is_disk_full(error) or is_unwritable(error)
                log.error("the sweep failed: %s", reason(error), exc_info=None if known else error)

    def sweep(self) -> Swept | None:
        """Remove what is due; None during another sweep, or on a moved store."""
        with self._system.database.exclusive_if_free("sweep") as is_free:
            if not is_free or self._archive.is_retired():  # files of new jobs have no row here
                return None
            swept = Swept(expired=self._expire(), orphans=self._drop_orphans(), evicted=self._evict())
        if swept != Swept():
            self._archive.scrub()
            log.info("removed %d old jobs, %d to free space, %d orphans", swept.expired, swept.evicted, swept.orphans)
        self._archive.keep_reserve()
        return swept

    def _expire(self) -> int:
        count = 0
        while old := self._archive.finished_before(self._now() - self._settings.keep_seconds):
            count += sum(self._forget(job_id) for job_id in old)
        return count

    def _evict(self) -> int:
        """Remove finished jobs, least recently read first, until the files are within `keep_bytes`."""
        most = self._settings.keep_bytes.of(shutil.disk_usage(self._settings.data).total)
        usage = self._artifacts.usage()
        excess = sum(use.size for use in usage.values()) - most
        if excess <= 0:
            return 0
        elsewhere = _without_file(self._archive.outputs_before(self._now()), usage) if self._is_shared else ()
        count = 0
        for job_id, use in sorted(usage.items(), key=lambda item: item[1].read_at):
            if excess <= 0 or self._now() - use.read_at < READ_SECONDS:
                break
            if job_id not in elsewhere and self._forget(job_id):
                excess -= use.size
                count += 1
        return count

    def _drop_orphans(self) -> int:
        """Remove files without a row, and rows of videos without a whole file.

        Such files are those of jobs that are not in the store, and leftovers of killed engines.
        """
        before = self._now() - YOUNG_SECONDS
        usage = self._artifacts.usage()
        aged = [job_id for job_id, use in usage.items() if use.changed_at < before]
        unknown, since = set(aged) - self._archive.known(aged), self._since()
        strays = [job_id for job_id in unknown if usage[job_id].changed_at >= since]
        for job_id in strays:
            self._artifacts.delete(job_id)
        ended = self._archive.outputs_before(before)
        # with a shared store a file that is not here may be another machine's
        hollow = () if self._is_shared else _without_file(ended, usage)
        kept = {job_id: file[0] if (file := ended[job_id]) else None for job_id in aged if job_id in ended}
        untidy = [job_id for job_id, output in kept.items() if usage[job_id].has_leftovers(output)]
        for job_id in untidy:
            self._artifacts.trim(job_id, kept[job_id])
        return len(strays) + sum(self._forget(job_id) for job_id in hollow) + len(untidy)

    def _since(self) -> float:
        """Return the time since which files without a row are ours to remove."""
        # a folder of another store, such as the file of this machine before, has only files without a row
        facts = FactStore(self._system.database)
        return float(facts.get_or_make(SWEPT_SINCE, lambda: repr(self._now()))) if self._is_shared else 0.0

    def _forget(self, job_id: str) -> bool:
        forget, ended = partial(self._archive.forget, job_id), partial(self._archive.has_ended, job_id)
        return remove(self._artifacts, job_id, forget, allowed=ended)


def _without_file(ended: Mapping[str, tuple[str, int] | None], usage: Mapping[str, Usage]) -> frozenset[str]:
    """Return the completed jobs whose whole files are not in this folder."""
    jobs = ((job_id, file) for job_id, file in ended.items() if file)
    return frozenset(job_id for job_id, file in jobs if file not in usage.get(job_id, Usage()).outputs)
