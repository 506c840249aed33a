"""Bring a repository into the hub's cache, in the process that has the turn."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from router.catalog.download import cache_paths, lock, plan
from router.catalog.download.failures import cannot_ask, errors, reason
from router.catalog.download.lock import Fetching, Turn
from router.catalog.download.plan import Plan
from router.catalog.download.retry import PAUSES, Patience
from router.catalog.download.transfer import Transfer
from router.errors import DiskFull, DownloadFailed, is_disk_full
from router.runtime.byte_size import format_bytes

FILES_AT_ONCE = 8  # as the hub's own client
TELL_SECONDS = 0.2


@dataclass(frozen=True)
class Fetched:
    """A whole snapshot: its folder and its bytes, 0 where the hub could not be asked."""

    folder: Path
    size: int


def fetch(repo: str, revision: str | None, pauses: tuple[float, ...] = PAUSES) -> Fetched:
    """Wait for the turn, bring what lacks of a repository's weights and settings, and put the snapshot together.

    Raises `DownloadFailed`, after which the next call goes on, and `DiskFull`, after which nothing is half there.
    """
    files: Plan | None = None
    try:
        with lock.hold(repo) as mine:
            files = Patience(pauses).try_again(lambda: plan.make(repo, revision))
            files.require_room()
            with _nothing_half_there_on_a_full_disk(files):
                _bring(files, mine, pauses)
            return Fetched(Patience(pauses).try_again(lambda: _put_together(repo, revision)), files.size)
    except errors() as error:
        if is_disk_full(error):
            raise DiskFull(
                f"the disk is full: {repo} did not fit into the hub's cache; what was half there is removed"
            ) from error
        if files is None and cannot_ask(error) and (folder := cache_paths.cached(repo, revision)):
            return Fetched(folder, 0)  # which may be an older state of a branch, and is whole
        raise DownloadFailed(f"{repo} could not be fetched: {reason(error, revision)}{_kept(files)}") from error


def _bring(files: Plan, mine: Turn, pauses: tuple[float, ...]) -> None:
    """Transfer the files, several at once, and tell how far they are; the first failure ends all."""
    patience = Patience(pauses)
    transfers = [Transfer(file, patience) for file in files.files]
    far = Fetching(0, files.size, 0)
    pool = ThreadPoolExecutor(FILES_AT_ONCE)
    futures = [pool.submit(transfer.run) for transfer in transfers]
    try:
        while not _ended(futures):
            done, moved = sum(each.done for each in transfers), sum(each.moved for each in transfers)
            far = Fetching(max(done, far.done), files.size, moved)  # a file that starts over takes nothing back
            mine.tell(far)
    finally:
        patience.stop()
        pool.shutdown(cancel_futures=True)


@contextmanager
def _nothing_half_there_on_a_full_disk(files: Plan) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            files.discard()
        raise


def _put_together(repo: str, revision: str | None) -> Path:
    """Let the hub's client link the files, which it finds in its cache, into a snapshot."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repo, revision=revision, allow_patterns=list(cache_paths.WANTED)))


def _kept(files: Plan | None) -> str:
    if files is None or files.here == 0:
        return ""
    return f"; {format_bytes(files.here)} of {format_bytes(files.size)} are here, and the next try goes on from there"


def _ended(futures: list[Future[None]]) -> bool:
    """Wait a little; return whether all files are there, raise the first failure."""
    done, rest = wait(futures, TELL_SECONDS, FIRST_EXCEPTION)
    for future in done:
        future.result()
    return not rest
