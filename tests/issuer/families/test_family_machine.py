"""Whatever clients, thieves and time do, both stores answer as a model of the six rules does."""

from __future__ import annotations

import pytest
from harness.rotation_machine import DEFAULT, FINITE, STRICT, OpenStore, machine
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from issuer.families import RotationRules

SETTINGS = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    "windows", [DEFAULT, STRICT, FINITE], ids=["default", "strict", "finite retry window"]
)
def test_a_store_answers_as_the_model(open_near_store: OpenStore, windows: RotationRules) -> None:
    """Outcomes, records and indexes are the model's after any sequence of moves."""
    run_state_machine_as_test(machine(open_near_store, windows), settings=SETTINGS)
