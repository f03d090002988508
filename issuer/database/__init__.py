"""SQL: tables, engine and migrations."""

from .engine import DatabaseUnavailable, SchemaOutdated, migrate, open_engine, require_schema

__all__ = ["DatabaseUnavailable", "SchemaOutdated", "migrate", "open_engine", "require_schema"]
