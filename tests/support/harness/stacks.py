"""Which databases and stores a test of the issuer runs on.

Most run on two pairs that have each of them once; these marks widen or narrow that.
"""

from __future__ import annotations

import pytest

DEFAULT = ("sqlite-memory", "postgresql-redis")

everywhere = pytest.mark.parametrize(
    "stack", [*DEFAULT, "sqlite-redis", "postgresql-memory"], indirect=True
)
"""Each database with each store."""

anywhere = pytest.mark.parametrize("stack", ["sqlite-memory"], indirect=True)
"""For what has nothing to do with either."""

both_databases = pytest.mark.parametrize(
    "stack", ["sqlite-memory", "postgresql-memory"], indirect=True
)
"""For what no store takes part in."""

both_stores = pytest.mark.parametrize("stack", ["sqlite-memory", "sqlite-redis"], indirect=True)
"""For what no database takes part in."""

on_redis = pytest.mark.parametrize("stack", ["sqlite-redis", "postgresql-redis"], indirect=True)
"""For what memory cannot do."""
