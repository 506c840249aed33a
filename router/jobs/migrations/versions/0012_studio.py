"""Searched prompts, causes of failures, and engines that take no new jobs."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
FILL = "UPDATE jobs SET searched = searched_text(CAST(task AS BLOB))"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("searched", sa.Text, nullable=False, server_default=""))
    # by SQLite row for row: a list of all prompts would not fit into a small machine
    op.get_bind().connection.create_function("searched_text", 1, _searched, deterministic=True)
    op.execute(FILL)
    # with what pages are filtered by: rows that do not match are not read
    op.drop_index("jobs_owner", "jobs")
    op.create_index("jobs_owner", "jobs", ["owner", "seq", "status", "model"])
    op.add_column("jobs", sa.Column("cause", sa.Text))
    op.add_column("engines", sa.Column("draining", sa.Boolean, nullable=False, server_default=sa.false()))


def _searched(task: bytes) -> str:
    """Return the casefolded prompt of a stored task, empty for a damaged one."""
    try:
        return str(json.loads(task)["prompt"]).casefold()
    except (ValueError, TypeError, LookupError, RecursionError):  # one bad row must not keep the server from starting
        return ""
