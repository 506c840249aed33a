"""The transfer of one file, with resume and a digest check."""

import os
from typing import Any, BinaryIO

from router.catalog.download.failures import ConnectionCut, Retrier, WrongFile
from router.catalog.download.plan import File

CHUNK = 2**20
CANNOT_RANGE = 416


class Transfer:
    """One file's transfer: `done` bytes present; `moved` counts bytes read or hashed."""

    def __init__(self, file: File, retrier: Retrier) -> None:
        self.file = file
        self.done = file.here
        self.moved = 0
        self._retrier = retrier
        self._hash: Any = None

    def run(self) -> None:
        """Complete the file; raise the client's errors, or `WrongFile` after its removal."""
        while not self.file.is_whole:
            resumed = self.done > 0
            if self._complete():
                return
            self.file.part.unlink()
            if not resumed:
                raise WrongFile(
                    f"{self.file.path} is not what the hub lists: {self.file.size} bytes with digest "
                    f"{self.file.digest} were needed, got {self.done} with {self._hash.hexdigest()}"
                )
            self.done = 0  # what was here may have been wrong

    def _complete(self) -> bool:
        with open(self.file.part, "a+b") as part:
            self._hash_existing(part)
            if self.done < self.file.size:
                self._retrier.try_again(lambda: self._fetch_rest(part), lambda: self.done)
            part.flush()
            os.fsync(part.fileno())
        if self.done != self.file.size or self._hash.hexdigest() != self.file.digest:
            return False
        os.replace(self.file.part, self.file.blob)
        return True

    def _hash_existing(self, part: BinaryIO) -> None:
        self._start_over(part, keep=self.file.size)
        part.seek(0)
        while chunk := part.read(CHUNK):
            self._retrier.check()
            self._count(chunk)

    def _start_over(self, part: BinaryIO, keep: int = 0) -> None:
        part.truncate(min(keep, part.seek(0, os.SEEK_END)))
        self.done, self._hash = 0, self.file.hasher()

    def _count(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.done += len(chunk)
        self.moved += len(chunk)

    def _fetch_rest(self, part: BinaryIO) -> None:
        from huggingface_hub import constants, get_session, hf_raise_for_status
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # in its documentation

        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if self.done:
            headers["Range"] = f"bytes={self.done}-"
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", self.file.url, headers=headers, timeout=timeout) as answer:
            if answer.status_code == CANNOT_RANGE:
                return  # the hub's file is shorter than its list says
            hf_raise_for_status(answer)
            if self.done and answer.status_code != 206:
                self._start_over(part)
            for chunk in answer.iter_bytes():
                self._retrier.check()
                part.write(chunk)
                self._count(chunk)
                if self.done > self.file.size:
                    return
        if self.done < self.file.size:
            raise ConnectionCut
