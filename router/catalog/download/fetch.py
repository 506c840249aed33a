"""The download of a repository into the hub's cache, under the download lock."""

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from router.catalog.download import cache_paths, lock, plan
from router.catalog.download.failures import PAUSES, Retrier, cannot_ask, errors, reason
from router.catalog.download.lock import DownloadProgress
from router.catalog.download.plan import Plan
from router.catalog.download.selection import MODEL, Selection
from router.catalog.download.transfer import Transfer
from router.errors import DiskFull, DownloadFailed, is_disk_full
from router.runtime.byte_size import format_bytes

FILES_AT_ONCE = 8  # as the hub's own client
REPORT_SECONDS = 0.2


def fetch(
    repo: str, revision: str | None, selection: Selection = MODEL, pauses: tuple[float, ...] = PAUSES
) -> tuple[Path, int]:
    """Wait for the lock, download the selected files and link the snapshot.

    Returns its folder and bytes, 0 bytes for an older snapshot where the hub is unreachable.
    Raises `DownloadFailed`, which the next call resumes from, and `DiskFull`, which leaves no unfinished file.
    """
    files: Plan | None = None
    try:
        with lock.hold(repo) as write:
            files = Retrier(pauses).try_again(lambda: plan.make(repo, revision, selection))
            files.check_disk_space()
            try:
                _transfer(files, write, pauses)
            except OSError as error:
                if is_disk_full(error):  # nothing else frees unfinished files, and other processes need the disk
                    files.discard()
                raise
            return Retrier(pauses).try_again(lambda: _link_snapshot(repo, revision, selection)), files.size
    except errors() as error:
        if is_disk_full(error):
            message = f"the disk is full: {repo} did not fit into the hub's cache; what was half there is removed"
            raise DiskFull(message) from error
        if files is None and cannot_ask(error) and (folder := cache_paths.cached(repo, revision, selection)):
            return folder, 0  # maybe an older state of the branch, but complete
        raise DownloadFailed(f"{repo} could not be fetched: {reason(error, revision)}{_resume_note(files)}") from error


def _transfer(files: Plan, write: Callable[[DownloadProgress], None], pauses: tuple[float, ...]) -> None:
    retrier = Retrier(pauses)
    transfers = [Transfer(file, retrier) for file in files.files]
    most = 0
    pool = ThreadPoolExecutor(FILES_AT_ONCE)
    futures = [pool.submit(transfer.run) for transfer in transfers]
    try:
        while not _all_done(futures):
            most = max(most, sum(each.done for each in transfers))  # a file that starts over takes nothing back
            write(DownloadProgress(most, files.size, sum(each.moved for each in transfers)))
    finally:
        retrier.stop()
        pool.shutdown(cancel_futures=True)


def _link_snapshot(repo: str, revision: str | None, selection: Selection) -> Path:
    from huggingface_hub import snapshot_download

    wanted, left_out = selection.patterns, selection.left_out
    return Path(snapshot_download(repo, revision=revision, allow_patterns=wanted, ignore_patterns=left_out))


def _resume_note(files: Plan | None) -> str:
    if files is None or files.here == 0:
        return ""
    return f"; {format_bytes(files.here)} of {format_bytes(files.size)} are here, and the next try goes on from there"


def _all_done(futures: list[Future[None]]) -> bool:
    """Wait briefly; return whether all files are complete, or raise the first failure."""
    done, rest = wait(futures, REPORT_SECONDS, FIRST_EXCEPTION)
    for future in done:
        future.result()
    return not rest
