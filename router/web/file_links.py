"""Links to the files of finished jobs."""

from flask import request

from router.auth.signed_urls import SignedUrls
from router.values import Job


class FileLinks:
    """Links at `public_url`, signed by `signatures`; paths without a public URL."""

    def __init__(self, public_url: str, signatures: SignedUrls) -> None:
        self._public_url = public_url.rstrip("/")
        self._signatures = signatures

    def of(self, job: Job) -> str:
        """Return the link to a finished job's file."""
        kind = kind_of(job)
        return self._public_url + self._signatures.sign(f"/v1/{kind}s/{kind}_{job.id}/content")

    def host(self) -> str:
        """Return the beginning of whole URLs: this request's host, empty with a public URL."""
        return "" if self._public_url or not request.host else request.host_url.rstrip("/")


def kind_of(job: Job) -> str:
    """Return `video` or `image`, as a finished job's file is."""
    assert job.artifact is not None, job.id
    return job.artifact.media_type.partition("/")[0]
