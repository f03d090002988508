"""Limits on guessing and on floods, with counts that all issuers share (docs/limits.md)."""
