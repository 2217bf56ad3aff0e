"""The table of jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("client", sa.String(80), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("uploads", sa.JSON, nullable=False),
        sa.Column("method", sa.String(80), nullable=False),
        sa.Column("slow", sa.Boolean, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("started", sa.Float),
        sa.Column("finished", sa.Float),
        sa.Column("key", sa.String(200)),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("result", sa.JSON),
        sa.Column("record", sa.JSON),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.UniqueConstraint("client", "key", name="one_job_for_a_key"),
    )
    op.create_index("jobs_by_client", "jobs", ["client", "id"])
    op.create_index("jobs_by_end", "jobs", ["state", "finished"])


def downgrade() -> None:
    """To an empty database."""
    op.drop_table("jobs")
