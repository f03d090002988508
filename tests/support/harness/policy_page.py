"""The tables of docs/policies.md, as the presets say; run as a program, it prints them."""

from __future__ import annotations

from issuer.policies import PRESETS, RULES
from issuer.policies.policy import KINDS


def values() -> str:
    """A row for each rule, a column for each preset."""
    rows = [["Rule", *(f"`{name}`" for name in PRESETS)]]
    for rule in RULES:
        told = [KINDS[rule].told(policy.rule(rule).value) for policy in PRESETS.values()]
        rows.append([f"`{rule}`", *told])
    return _table(rows)


def clauses() -> str:
    """For each rule the clauses, each with the presets that follow it."""
    rows = [["Rule", "Clause", "Presets"]]
    for rule in RULES:
        followed: dict[str, list[str]] = {}
        for name, policy in PRESETS.items():
            followed.setdefault(policy.rule(rule).clause, []).append(f"`{name}`")
        for clause, names in followed.items():
            every = "all" if len(names) == len(PRESETS) else " ".join(names)
            rows.append([f"`{rule}`", clause, every])
    return _table(rows)


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("|" + "|".join(f" {cell} " for cell in line) + "|" for line in lines).replace(
        " --- ", "---"
    )


if __name__ == "__main__":
    print(values())
    print()
    print(clauses())
