"""The queue's index has the estimates, too: a job's position is found without its row."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.drop_index("jobs_queue", "jobs")
    op.create_index("jobs_queue", "jobs", ["status", "model", sa.text("priority DESC"), "seq", "estimate"])
