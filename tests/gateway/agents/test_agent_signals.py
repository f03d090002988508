"""Signals to an agent come through wherever they find it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

_PROGRAM = """
import signal
from gateway.agents.signals import Signals

signals = Signals(signal.SIGTERM, signal.SIGHUP)
print("ready", flush=True)
came = []
while signal.SIGTERM not in came:
    came.append(signals.wait(0.0001))
print(came.count(signal.SIGHUP), signals.wait(0))
"""


def test_none_is_lost_in_a_storm_of_them() -> None:
    """Each interrupts the main thread at any of its steps; the last one ends the program."""
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True, env=path
    )
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        for _ in range(5000):
            program.send_signal(signal.SIGHUP)
        time.sleep(0.1)
        program.send_signal(signal.SIGTERM)
        hung_up, left = program.communicate(timeout=30)[0].split()
        # The system keeps one at a time, so that some become one.
        assert int(hung_up) >= 1
        assert left == "None"
        assert program.returncode == 0
    finally:
        program.kill()
