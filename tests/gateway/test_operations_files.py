"""Dashboard, alerts, runbooks and docs name what issuer and gateway really tell Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.certificates import make_certificates
from harness.forward_auth import ForwardAuthService
from harness.issuer_app import METRICS_TOKEN, IssuerApp, basic, bearer, migrated_sqlite
from harness.redis_server import RedisServer
from harness.token_source import TokenSource
from harness.web import ask
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parent.parent.parent
OPERATIONS = ROOT / "docs" / "operations"
DASHBOARD = json.loads((OPERATIONS / "gatepass-dashboard.json").read_text("utf-8"))
GROUPS = yaml.safe_load((OPERATIONS / "alerts.yml").read_text("utf-8"))["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]

OF_RECEIVERS = {"gatepass_notifications_waiting", "gatepass_notifications_oldest_seconds"}
"""What waits for a receiver, and has no sample here: by `target`."""

_METRIC = re.compile(r"(gatepass_[a-z_]+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!=|=|!~)\s*\"")
_BY = re.compile(r"\bby \(([^)]*)\)")

Told = dict[str, set[str]]
"""The labels of each sample's name."""


def told_by(text: str) -> Told:
    """What a scrape has; a family without a sample yet is there too."""
    found: Told = {}
    for family in text_string_to_metric_families(text):
        names = {
            "histogram": ("_bucket", "_count", "_sum"),
            "counter": ("_total",),
        }.get(family.type, ("",))
        for suffix in names:
            found.setdefault(family.name + suffix, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return {
        name: labels
        for name, labels in found.items()
        # When each began to count, which a client for Python adds by itself in one process.
        if name.startswith("gatepass_") and not name.endswith("_created")
    }


@pytest.fixture(scope="module")
def told(
    service: ForwardAuthService, source: TokenSource, tmp_path_factory: pytest.TempPathFactory
) -> Told:
    """What an issuer and a gateway tell after each has done some of everything."""
    directory = tmp_path_factory.mktemp("told")
    made = make_certificates(directory)
    migrated_sqlite(directory / "issuer.db")
    with (
        RedisServer() as redis,
        IssuerApp.build(
            f"sqlite:///{directory}/issuer.db",
            redis.unix_url,
            directory,
            tls_certificate=made.certificate,
            tls_key=made.key,
        ) as issuer,
    ):
        grant = issuer.grant()
        issuer.refresh(grant["refresh_token"])
        issuer.logout(grant["refresh_token"])
        issuer.services.metrics.notified("webhook", "delivered")
        client = issuer.app.test_client()
        assert client.get("/revocations", headers=basic("edge")).status_code == 200
        position = issuer.services.denylist.state().position
        cursor = f"{position.epoch}.{position.seq}.{position.chain}"
        stream = client.get(f"/revocations/events?after={cursor}", headers=basic("edge"))
        of_issuer = told_by(issuer.ask("GET", "/metrics", headers=bearer(METRICS_TOKEN)).text)
        stream.close()
    of_issuer |= {name: {"target"} for name in OF_RECEIVERS if name in of_issuer}
    service.verify(source.token())
    return of_issuer | told_by(ask("GET", f"{service.url}/metrics").content.decode())


def queries() -> Iterator[tuple[str, str]]:
    """Each query of dashboard and alerts, with who asks it."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]["query"]
    for rule in RULES:
        yield rule["alert"], rule["expr"]


def test_every_query_asks_for_what_is_told(told: Told) -> None:
    """Each metric and label of it is there: no panel and no alert is silent for ever."""
    asked = 0
    for whose, query in queries():
        for name, matchers in _METRIC.findall(query):
            asked += 1
            assert name in told, f"{whose}: {name}"
            unknown = set(_LABEL.findall(matchers)) - told[name] - {"instance"}
            assert not unknown, f"{whose}: {name} has no {unknown}"
        labels = set().union(*(told[name] for name, _ in _METRIC.findall(query)))
        for grouped in _BY.findall(query):
            unknown = {one.strip() for one in grouped.split(",")} - labels - {"instance"}
            assert not unknown, f"{whose}: nothing has {unknown}"
    assert asked > 60


def test_every_metric_is_documented_and_shown(told: Told) -> None:
    """docs/metrics.md names all that is told and nothing else; the dashboard shows it."""
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    suffix = re.compile(r"_(bucket|count|sum)\Z")
    names = {suffix.sub("", name) for name in told}
    assert set(re.findall(r"`(gatepass_[a-z_]+)`", page)) == names
    shown = {suffix.sub("", name) for _, query in queries() for name, _ in _METRIC.findall(query)}
    assert names - shown == set()


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """Of a schema that Grafana 11 and 12 read, with its data source left to whoever imports it."""
    assert DASHBOARD["schemaVersion"] == 39
    assert DASHBOARD["uid"] == "gatepass"
    source, *_ = DASHBOARD["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all(one["datasource"]["uid"] == "${datasource}" for one in panel["targets"])
            assert panel["fieldConfig"]["defaults"]["unit"]


def test_every_alert_leads_to_its_runbook() -> None:
    """A section that is there; and no section is for nothing."""
    anchors = _anchors(OPERATIONS / "runbooks.md")
    used = set()
    for rule in RULES:
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == "docs/operations/runbooks.md"
        assert anchor in anchors, rule["alert"]
        used.add(anchor)
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
    sources = [*(ROOT / "issuer").rglob("*.py"), *(ROOT / "docs").rglob("*.md")]
    for path in sources:
        for anchor in re.findall(r"runbooks\.md#([a-z-]+)", path.read_text("utf-8")):
            assert anchor in anchors, f"{path.name}: {anchor}"
            used.add(anchor)
    used |= set(re.findall(r"\]\(#([a-z-]+)\)", (OPERATIONS / "runbooks.md").read_text("utf-8")))
    assert used == anchors


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}
