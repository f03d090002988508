"""The benchmarks run to the end, and what they print is complete; how fast is no test's matter."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.documented import benchmarks_documented
from harness.processes import short_directory

from benchmarks import denylist_growth, replica
from benchmarks.command import GROUPS
from benchmarks.timing import Contender, Row, Timing, measure

RUN_TIMEOUT = 240


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of its own for everything temporary, short enough for a unix socket."""
    directory = short_directory("gp-b-")
    yield directory
    shutil.rmtree(directory)


def run(project_root: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m benchmarks`, without the coverage that slows down what it starts."""
    env = {name: text for name, text in os.environ.items() if not name.startswith("COV")}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=project_root,
        env={**env, "TMPDIR": str(place), "GATEPASS_MODE": "no mode: settings must not leak in"},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
        check=False,
    )


def table_of(output: str) -> list[list[str]]:
    """The cells of the markdown table's body."""
    lines = [line for line in output.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def assert_figures(row: dict[str, Any]) -> None:
    """Both sides have a name and positive figures that agree with the ratio."""
    for side in ("ours", "peer"):
        assert row[side]["name"]
        assert row[side]["rounds"] >= 3
        assert 0 < row[side]["fastest_us"] <= row[side]["median_us"] <= row[side]["slowest_us"]
        assert math.isfinite(row[side]["slowest_us"])
    ours, peer = row["ours"], row["peer"]
    lowest = peer["fastest_us"] / ours["slowest_us"]
    assert lowest <= row["ratio"] <= peer["slowest_us"] / ours["fastest_us"]


def test_quick_run_prints_every_benchmark_beside_its_peers(
    project_root: Path, tmp_path: Path, place: Path
) -> None:
    """One command measures everything with its peers in one run, and leaves nothing behind."""
    file = tmp_path / "figures.json"

    for _ in range(3):
        done = run(project_root, place, "--quick", "--json", str(file))
        # Who measures takes no "come back later", which a machine that stood still may say.
        if "refused: HTTP/1.1 503" not in done.stderr:
            break

    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    assert document["environment"]["cpus"] == os.cpu_count()
    assert document["environment"]["versions"]["Flask-JWT-Extended"]
    rows = document["rows"]
    for row in rows:
        assert_figures(row)
    assert {row["group"] for row in rows} == set(GROUPS)
    peers = {name: {row["peer"]["name"] for row in rows if row["group"] == name} for name in GROUPS}
    assert peers["sign"] == {"PyJWT", "joserfc"}
    assert peers["verify"] == {"PyJWT", "joserfc", "cryptography alone"}
    assert "PyJWT + redis-py GET" in peers["revocation"]
    assert peers["seal"] == {"joserfc"}
    assert peers["refresh-http"] == {"flask-jwt-extended, HS256", "flask-jwt-extended, ES256"}
    assert peers["forward-auth"] == {"bare ASGI"}
    assert [cells[0] for cells in table_of(done.stdout)] == [row["case"] for row in rows]
    assert document["environment"]["date"] in done.stdout
    assert list(place.iterdir()) == []


def test_only_runs_the_named_ones(project_root: Path, place: Path) -> None:
    """`--only` may be given more than once, and nothing else is measured."""
    done = run(project_root, place, "--quick", "--only", "seal", "--only", "sign")

    assert done.returncode == 0, done.stderr
    words = {cells[0].split()[0].strip(",") for cells in table_of(done.stdout)}
    assert words == {"sign", "seal", "unseal"}


def test_help_tells_of_every_benchmark(project_root: Path, place: Path) -> None:
    """`--help` names each benchmark that `--only` takes; an unknown one is refused."""
    done = run(project_root, place, "--help")
    assert done.returncode == 0
    assert [name for name in GROUPS if f"  {name} " not in done.stdout] == []
    assert run(project_root, place, "--only", "nothing").returncode == 2


def test_rounds_are_interleaved() -> None:
    """Contenders take turns, each with its next inputs, after one round that is not counted."""
    seen: list[str] = []
    contenders = [
        Contender("a", lambda item: seen.append(f"a{item}"), [1, 2, 3, 4, 5, 6]),
        Contender("b", lambda item: seen.append(f"b{item}"), [1, 2, 3]),
    ]

    timings = measure(contenders, rounds=2, count=2)

    assert " ".join(seen) == "a1 a2 b1 b2 b3 b1 a3 a4 a5 a6 b2 b3"
    assert [(timing.name, len(timing.rounds)) for timing in timings] == [("a", 2), ("b", 2)]


def test_ratio_above_one_means_ours_is_faster() -> None:
    """The ratio is the peer's time over ours within each round, and of those the median."""
    # In the second round the machine was half as fast, in the third something held ours up.
    row = Row("group", "case", Timing("ours", (2.0, 4.0, 9.0)), Timing("peer", (5.0, 10.0, 5.0)))
    assert row.ratio == 2.5


def test_the_growth_of_the_denylist_is_measured_beside_a_key_for_each_id(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes and times by size for both, each a positive figure, up to the size asked for."""
    monkeypatch.setenv("TMPDIR", str(place))
    assert denylist_growth.main(benchmarks_documented()["denylist_growth"]) == 0
    rows = table_of(capsys.readouterr().out)
    assert [row[0] for row in rows] == ["1,000", "2,000"]
    assert all(float(figure) > 0 for row in rows for figure in row[1:])


def test_a_replica_is_measured_by_size_and_by_processes(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading, the check by size with its picture, and the memory of one process and of two."""
    monkeypatch.setenv("TMPDIR", str(place))
    picture = place / "check.svg"
    arguments = [*benchmarks_documented()["replica"], "--picture", str(picture)]
    assert replica.main(arguments) == 0
    sizes, loading, processes = capsys.readouterr().out.split("\n\n")
    assert loading.startswith("2,000 entries: ")
    assert [row[0] for row in table_of(sizes)] == ["10", "100", "1,000"]
    assert all(float(cell.split()[0]) > 0 for row in table_of(sizes) for cell in row[1:])
    assert [row[0] for row in table_of(processes)] == ["1", "2"]
    drawn = ET.parse(picture)
    assert len(drawn.findall(".//{*}polyline")) == len(replica.WAYS)


def test_the_commands_of_the_page_are_run_by_these_tests() -> None:
    """As they stand there; a new one needs a test of its own."""
    assert set(benchmarks_documented()) == {"denylist_growth", "replica", "revocation_latency"}
