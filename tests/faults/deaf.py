"""A listener that raises whatever it hears."""

from router import hookimpl


@hookimpl
def job_changed(job):
    raise RuntimeError(f"deaf to {job.status}")
