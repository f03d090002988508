"""A pytest plugin: at its end every process of a run looks for its secrets in all that was logged.

What is searched: what programs started with `Process` wrote to standard error, and to standard
output unless that is where they have to print a secret; log files in their directories; standard
error of `gatepass` commands; and what the tests' own process logged. Under xdist each worker looks
by itself and tells the controller, which fails the run, also where a worker does not tell.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
from harness import logged, secret_sources

MOST_TOLD = 20

Told = dict[str, Any]
"""What one process found; `leaks` are for people."""
FOUND = pytest.StashKey[list[Told | None]]()
_CONTROLLER = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch, before any test module is imported."""
    config.addinivalue_line(
        "markers",
        "foreign_log(whose): what the test's process logs is of a program that is not ours",
    )
    config.stash[FOUND] = []
    if not hasattr(config, "workerinput"):
        config.stash[_CONTROLLER] = True
    secret_sources.watch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what each test's own process has logged."""
    report = yield
    if report.when == "teardown" and not item.get_closest_marker("foreign_log"):
        for title, text in report.sections:
            if "log" in title or "stderr" in title:
                logged.keep(f"{item.nodeid} ({title})", text.encode(errors="replace"))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Look, unless this is a controller whose workers do."""
    if session.config.getoption("collectonly", False):
        return
    if not _has_workers(session.config):
        told = look()
        output = getattr(session.config, "workeroutput", None)
        if output is None:
            session.config.stash[FOUND].append(told)
        else:
            output["leak_hunt"] = json.dumps(told)
    if _CONTROLLER in session.config.stash and failed(session.config.stash[FOUND]):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take what a worker found; one that says nothing has not looked."""
    output = getattr(node, "workeroutput", None) or {}
    told = output.get("leak_hunt")
    node.config.stash[FOUND].append(None if told is None else json.loads(told))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was searched for, in how much, and what was found."""
    found = config.stash[FOUND]
    if not found:
        return
    secrets: Counter[str] = Counter()
    for told in found:
        secrets.update(told["secrets"] if told else {})
    leaks = [leak for told in found if told for leak in told["leaks"]]
    size = sum(told["bytes"] for told in found if told)
    terminalreporter.write_line(
        f"leak hunt: {secrets.total()} secrets of {len(secrets)} kinds looked for in"
        f" {size} bytes of logs of {len(found)} processes: {len(leaks)} leaks"
    )
    silent = sum(told is None for told in found)
    if silent:
        terminalreporter.write_line(f"leak hunt: {silent} workers ended without looking")
    for leak in leaks[:MOST_TOLD]:
        terminalreporter.write_line(f"leak hunt: LEAK {leak}")


def failed(found: list[Told | None]) -> bool:
    """Whether a process found a leak, or has not looked."""
    return any(told is None or told["leaks"] for told in found)


def look() -> Told:
    """Search all that was logged; a value that JSON can hold."""
    size = 0
    leaks: list[str] = []
    for source, text in logged.everything():
        size += len(text)
        leaks += [
            f"of {leak.kind} in {source} at {leak.place}, after {leak.before!r}"
            for leak in secret_sources.made.leaks(text)
        ]
    return {"secrets": dict(secret_sources.made.counts), "bytes": size, "leaks": leaks}


def _has_workers(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "dist", "no") != "no") and not hasattr(config, "workerinput")
