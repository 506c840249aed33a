"""By which code the parts of an engine's models run."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("engines", sa.Column("paths", sa.Text, nullable=False, server_default="{}"))
