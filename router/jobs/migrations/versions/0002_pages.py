"""What lists of jobs need: an owner's jobs in order, and where a deleted one stood."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("jobs_owner", "jobs", ["owner", "seq"])
    op.add_column("changes", sa.Column("seq", sa.Integer))
