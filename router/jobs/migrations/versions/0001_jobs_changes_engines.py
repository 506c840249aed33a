"""Jobs, the log of their changes, and the engines."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("lost", sa.Integer, nullable=False),
        sa.Column("engine", sa.String(64)),
        sa.Column("lease_boot", sa.String(64)),
        sa.Column("lease_until", sa.Float),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("finished_at", sa.Float),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("form", sa.Text, nullable=False),
        sa.Column("progress", sa.Text),
        sa.Column("warnings", sa.Text, nullable=False),
        sa.Column("artifact", sa.Text),
        sa.Column("failure", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("jobs_queue", "jobs", ["status", "seq", "model"])
    op.create_table(
        "changes",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("job", sa.String(64), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "engines",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("device", sa.String(32), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("resident", sa.Text, nullable=False),
        sa.Column("job", sa.String(64)),
        sa.Column("boot", sa.String(64), nullable=False),
        sa.Column("seen", sa.Float, nullable=False),
    )
