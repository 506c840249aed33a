"""What engines lack to run a model."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("engines", sa.Column("lacks", sa.Text, nullable=False, server_default="{}"))
