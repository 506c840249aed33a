"""What many machines share: facts, rates, waiters, and where an engine's lock is."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("engines", sa.Column("lock_domain", sa.String(64), nullable=False, server_default=""))
    op.add_column("revisions", sa.Column("traits", sa.Text))
    facts = op.create_table(
        "facts",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.bulk_insert(facts, [{"name": "least_revision", "value": revision}])
    op.create_table(
        "rates",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("free_at", sa.Float, nullable=False),
    )
    op.create_table(
        "waiters",
        sa.Column("job", sa.String(64), primary_key=True),
        sa.Column("process", sa.String(64), primary_key=True),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_index("waiters_process", "waiters", ["process"])
