"""Policies: named sets of rules for sessions, each with the clause that it follows."""
