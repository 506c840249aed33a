"""API keys, the key that asked for a job, and whose a deleted job was."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(16), nullable=False, unique=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("queued", sa.Integer),
        sa.Column("running", sa.Integer),
        sa.Column("per_minute", sa.Integer),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("revoked_at", sa.Float),
        sa.Column("version", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("api_keys_version", "api_keys", ["version"])
    op.add_column("jobs", sa.Column("key", sa.String(16)))
    op.create_index("jobs_key", "jobs", ["key", "status"])
    op.add_column("changes", sa.Column("owner", sa.String(128)))
    op.execute("UPDATE changes SET owner = 'local' WHERE seq IS NOT NULL")  # there was no other
