"""Whose turn it is and how long it takes; and revisions of the models file."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for name in ("priority", "due"):
        op.add_column("jobs", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("overtaken_at", sa.Float))
    op.add_column("jobs", sa.Column("estimate", sa.Float))
    op.add_column("jobs", sa.Column("revision", sa.Integer))
    op.drop_index("jobs_queue")
    op.create_index("jobs_queue", "jobs", ["status", "model", sa.text("priority DESC"), "seq"])
    op.create_index("jobs_finished", "jobs", ["finished_at"])
    op.create_index("jobs_due", "jobs", ["status", "model", "priority", "due"])
    turns = op.create_table("turns", sa.Column("n", sa.Integer, nullable=False))
    op.bulk_insert(turns, [{"n": 0}])
    op.create_table(
        "paces",
        sa.Column("model", sa.String(128), primary_key=True),
        sa.Column("shape", sa.String(64), primary_key=True),
        sa.Column("step", sa.Float, nullable=False),
        sa.Column("rest", sa.Float, nullable=False),
    )
    op.create_table(
        "revisions",
        sa.Column("n", sa.Integer, primary_key=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
