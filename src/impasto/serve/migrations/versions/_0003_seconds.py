"""The predicted time of a job, by which it gets its lane again after a restart."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.add_column("jobs", sa.Column("seconds", sa.Float, nullable=False, server_default="1"))


def downgrade() -> None:
    """To the version before."""
    op.drop_column("jobs", "seconds")
