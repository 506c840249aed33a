"""A listener that always raises."""

from router import hookimpl


@hookimpl
def job_changed(job):
    raise RuntimeError(f"deaf to {job.status}")
