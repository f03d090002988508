"""SQL: tables, engine and migrations."""

from .engine import (
    DatabaseUnavailable,
    SchemaMismatch,
    SchemaNewer,
    SchemaOutdated,
    migrate,
    open_engine,
    require_schema,
)

__all__ = [
    "DatabaseUnavailable",
    "SchemaMismatch",
    "SchemaNewer",
    "SchemaOutdated",
    "migrate",
    "open_engine",
    "require_schema",
]
