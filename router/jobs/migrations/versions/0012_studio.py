"""What the page looks jobs up by, and engines that take no new jobs."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
jobs = sa.table("jobs", sa.column("seq"), sa.column("task"), sa.column("searched"))


def upgrade() -> None:
    op.add_column("jobs", sa.Column("searched", sa.Text, nullable=False, server_default=""))
    db = op.get_bind()
    fill = jobs.update().where(jobs.c.seq == sa.bindparam("row")).values(searched=sa.bindparam("prompt"))
    rows = [{"row": seq, "prompt": json.loads(task)["prompt"].casefold()} for seq, task in db.execute(_all())]
    if rows:
        db.execute(fill, rows)
    # with what pages are filtered by: rows that do not match are not read
    op.drop_index("jobs_owner", "jobs")
    op.create_index("jobs_owner", "jobs", ["owner", "seq", "status", "model"])
    op.add_column("engines", sa.Column("draining", sa.Boolean, nullable=False, server_default=sa.false()))


def _all() -> sa.Select[int, str]:
    return sa.select(jobs.c.seq, jobs.c.task)
