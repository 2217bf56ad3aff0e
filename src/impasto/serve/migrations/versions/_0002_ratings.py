"""The table of ratings."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "ratings",
        sa.Column("job", sa.String(32), primary_key=True),
        sa.Column("client", sa.String(80), nullable=False),
        sa.Column("stars", sa.Integer, nullable=False),
        sa.Column("note", sa.String(1000), nullable=False),
        sa.Column("method", sa.String(80), nullable=False),
        sa.Column("style", sa.String(200), nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_index("ratings_by_client", "ratings", ["client", "created"])


def downgrade() -> None:
    """To the version before."""
    op.drop_table("ratings")
