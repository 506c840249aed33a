"""What engines hold: bytes by model, and the models that wait on the host."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("engines", sa.Column("memory", sa.Text, nullable=False, server_default="{}"))
    op.add_column("engines", sa.Column("warm", sa.Text, nullable=False, server_default="[]"))
