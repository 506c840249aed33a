"""What jobs cost: the order of the queue by expected seconds, the ledger, budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    _order_by_seconds()
    _measure_seconds()
    _keep_usage()
    _limit_usage()


def _order_by_seconds() -> None:
    for name in ("arrived_at", "due_at"):
        op.add_column("jobs", sa.Column(name, sa.Float, nullable=False, server_default="0"))
    op.create_table(
        "scheduling_clock",
        sa.Column("boot", sa.String(64), nullable=False),
        sa.Column("shift", sa.Float, nullable=False),
    )

    op.drop_index("jobs_due", "jobs")
    op.drop_index("jobs_queue", "jobs")
    for name in ("due", "overtaken_at"):
        op.drop_column("jobs", name)
    op.drop_table("turns")
    # jobs of before are due at 0: they go first, in their order
    op.create_index("jobs_queue", "jobs", ["status", "model", sa.text("priority DESC"), "due_at", "seq", "estimate"])


def _measure_seconds() -> None:
    op.drop_table("paces")  # of whole jobs by size: the first job of each size measures it again
    op.add_column("engines", sa.Column("kind", sa.String(64), nullable=False, server_default=""))
    op.add_column("engines", sa.Column("loads", sa.Text, nullable=False, server_default="{}"))
    op.create_table(
        "timings",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(128), primary_key=True),
        sa.Column("variant", sa.String(64), primary_key=True),
        sa.Column("mode", sa.String(256), primary_key=True),
        sa.Column("width", sa.Integer, primary_key=True),
        sa.Column("height", sa.Integer, primary_key=True),
        sa.Column("frames", sa.Integer, primary_key=True),
        sa.Column("recent", sa.Text, nullable=False),
        sa.Column("is_split", sa.Boolean, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
    )
    op.create_table(
        "loads",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("model", sa.String(128), primary_key=True),
        sa.Column("variant", sa.String(64), primary_key=True),
        sa.Column("origin", sa.String(8), primary_key=True),
        sa.Column("recent", sa.Text, nullable=False),
    )


def _keep_usage() -> None:
    op.add_column("jobs", sa.Column("price", sa.Float))
    op.add_column("jobs", sa.Column("usage", sa.Text))
    op.create_table(
        "attempts",
        sa.Column("job", sa.String(64), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("engine", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("boot", sa.String(64), nullable=False),
        sa.Column("claimed_at", sa.Float, nullable=False),
        sa.Column("began", sa.Float),
        sa.Column("reported_at", sa.Float),
        sa.Column("estimate", sa.Float),
        sa.Column("price", sa.Float),
    )
    op.create_index("attempts_owner", "attempts", ["owner", "key"])
    op.create_table(
        "ledger",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("owner", sa.String(128), primary_key=True),
        sa.Column("key", sa.String(16), primary_key=True),
        sa.Column("model", sa.String(128), primary_key=True),
        sa.Column("outcome", sa.String(16), primary_key=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("gpu_seconds", sa.Float, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("frames", sa.Integer, nullable=False),
        sa.Column("pixels", sa.Integer, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
    )
    op.create_index("ledger_owner", "ledger", ["owner", "day"])
    op.create_index("ledger_key", "ledger", ["key", "day"])


def _limit_usage() -> None:
    for name in ("gpu_seconds", "cost"):
        op.add_column("api_keys", sa.Column(name, sa.String(32)))
    op.create_table(
        "owners",
        sa.Column("owner", sa.String(128), primary_key=True),
        sa.Column("gpu_seconds", sa.String(32)),
        sa.Column("cost", sa.String(32)),
    )
    op.create_index(
        "api_keys_budgets", "api_keys", ["id"], sqlite_where=sa.text("gpu_seconds IS NOT NULL OR cost IS NOT NULL")
    )
