"""The alerts, by Prometheus' own tool: each fires where it should, and is silent elsewhere."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml
from harness.processes import require_binary

ROOT = Path(__file__).resolve().parent.parent.parent
ALERTS = ROOT / "docs" / "operations" / "alerts.yml"
DASHBOARD = ROOT / "docs" / "operations" / "gatepass-dashboard.json"
VARIABLES = {"$__rate_interval": "5m", "$issuer": ".+", "$gateway": ".+"}
HOUR, DAY = 3600, 86_400


@dataclass(frozen=True)
class Case:
    """Series, a minute a value, under which an alert fires, and those under which it does not."""

    ill: dict[str, str]
    well: dict[str, str]
    at: str = "30m"


def flat(value: float) -> str:
    return f"{value:g}x200"


def rising(by: float) -> str:
    """So much more in each minute."""
    return f"0+{by:g}x200"


def requests(status: str, by: float) -> dict[str, str]:
    labels = f'instance="i", route="/refresh", status="{status}"'
    return {f"gatepass_http_request_duration_seconds_count{{{labels}}}": rising(by)}


def buckets(name: str, labels: str, slow: float) -> dict[str, str]:
    """A hundred a minute, `slow` of them in the bucket above a second."""
    return {
        f'{name}{{{labels}, le="0.25"}}': rising(100 - slow),
        f'{name}{{{labels}, le="2.5"}}': rising(100),
        f'{name}{{{labels}, le="+Inf"}}': rising(100),
    }


REFRESH = "gatepass_http_request_duration_seconds_bucket"
LATENCY = "gatepass_revocation_latency_seconds_bucket"
LOGINS = "gatepass_logins_total"
REFRESHES = "gatepass_refreshes_total"
DECISIONS = "gatepass_verification_duration_seconds_count"
MEMORY = "gatepass_redis_memory_bytes"
LIMIT = "gatepass_redis_memory_limit_bytes"
AGE = "gatepass_key_age_seconds"
END = "gatepass_tls_certificate_expires_timestamp_seconds"

CASES = {
    "GatepassNoIssuer": Case({}, {'gatepass_build_info{version="1"}': flat(1)}),
    "GatepassStoreDown": Case(
        {'gatepass_store_up{store="database", instance="i"}': flat(0)},
        {'gatepass_store_up{store="database", instance="i"}': flat(1)},
    ),
    "GatepassDenylistNotReady": Case(
        {"gatepass_denylist_ready": flat(0)}, {"gatepass_denylist_ready": flat(1)}
    ),
    "GatepassRevocationsUndone": Case(
        {"gatepass_revocations_undone": flat(3)},
        # Under way now and then, and done a moment later.
        {"gatepass_revocations_undone": "1 0 " * 100},
    ),
    "GatepassServerErrors": Case(
        requests("200", 100) | requests("503", 5), requests("200", 1000) | requests("503", 5)
    ),
    "GatepassSlowRefresh": Case(
        buckets(REFRESH, 'instance="i", route="/refresh"', 5),
        buckets(REFRESH, 'instance="i", route="/refresh"', 0.5),
    ),
    "GatepassPasswordsTurnedAway": Case(
        {"gatepass_password_hashing_turned_away_total": rising(12)},
        {"gatepass_password_hashing_turned_away_total": rising(1)},
    ),
    "GatepassGuessing": Case(
        {
            f'{LOGINS}{{outcome="refused"}}': rising(90),
            f'{LOGINS}{{outcome="limited"}}': rising(90),
            f'{LOGINS}{{outcome="granted"}}': rising(30),
        },
        {
            f'{LOGINS}{{outcome="refused"}}': rising(180),
            f'{LOGINS}{{outcome="granted"}}': rising(600),
        },
    ),
    "GatepassReuse": Case(
        {f'{REFRESHES}{{outcome="reuse"}}': rising(1)},
        {f'{REFRESHES}{{outcome="reuse"}}': rising(0.1)},
        at="90m",
    ),
    "GatepassSessionsWentBack": Case(
        {f'{REFRESHES}{{outcome="rolled_back"}}': "0x10 1x200"},
        {f'{REFRESHES}{{outcome="rolled_back"}}': flat(4)},
        at="15m",
    ),
    "GatepassSigningKeyOld": Case(
        {f'{AGE}{{state="active", alg="ES256"}}': flat(36 * DAY)},
        {
            f'{AGE}{{state="active", alg="ES256"}}': flat(31 * DAY),
            f'{AGE}{{state="retiring", alg="ES256"}}': flat(40 * DAY),
        },
        at="90m",
    ),
    "GatepassSealingKeyOld": Case(
        {f'{AGE}{{state="active", alg="A256GCM"}}': flat(3 * DAY)},
        {
            f'{AGE}{{state="active", alg="A256GCM"}}': flat(DAY),
            f'{AGE}{{state="retiring", alg="A256GCM"}}': flat(40 * DAY),
        },
        at="90m",
    ),
    "GatepassCertificateEnds": Case(
        {f'{END}{{instance="i"}}': flat(10 * DAY)},
        {f'{END}{{instance="i"}}': flat(30 * DAY)},
        at="90m",
    ),
    "GatepassRedisNearlyFull": Case(
        {MEMORY: flat(90), LIMIT: flat(100)}, {MEMORY: flat(90), LIMIT: flat(0)}
    ),
    "GatepassRedisReplicaSilent": Case(
        {"gatepass_redis_replica_lag_seconds": flat(11)},
        {"gatepass_redis_replica_lag_seconds": flat(1)},
    ),
    "GatepassNotificationsWait": Case(
        {'gatepass_notifications_oldest_seconds{target="hook"}': flat(1000)},
        {'gatepass_notifications_oldest_seconds{target="hook"}': flat(30)},
    ),
    "GatepassReplicaStale": Case(
        {'gatepass_replica_in_step{instance="g"}': flat(0)},
        {'gatepass_replica_in_step{instance="g"}': flat(1)},
    ),
    "GatepassKeysMissing": Case(
        {'gatepass_keys_ready{instance="g"}': flat(0)},
        {'gatepass_keys_ready{instance="g"}': flat(1)},
    ),
    "GatepassGatewayUnavailable": Case(
        {
            f'{DECISIONS}{{instance="g", answer="unavailable"}}': rising(2),
            f'{DECISIONS}{{instance="g", answer="allowed"}}': rising(100),
        },
        {
            f'{DECISIONS}{{instance="g", answer="unavailable"}}': rising(0),
            f'{DECISIONS}{{instance="g", answer="refused"}}': rising(100),
        },
    ),
    "GatepassRevocationLate": Case(
        buckets(LATENCY, 'instance="g"', 5), buckets(LATENCY, 'instance="g"', 0.5)
    ),
    "GatepassUnknownKeys": Case(
        {'gatepass_verifications_total{instance="g", outcome="unknown_kid"}': rising(90)},
        {
            'gatepass_verifications_total{instance="g", outcome="unknown_kid"}': rising(6),
            'gatepass_verifications_total{instance="g", outcome="expired"}': rising(900),
        },
    ),
    "GatepassFeedReadAgain": Case(
        {'gatepass_feed_snapshots_total{gateway="edge"}': rising(0.5)},
        {'gatepass_feed_snapshots_total{gateway="edge"}': rising(0.05)},
        at="90m",
    ),
}


def test_every_alert_fires_where_it_should_and_only_there(tmp_path: Path) -> None:
    """Each of them under an illness of its own; none of it under what is usual."""
    alerts = {
        rule["alert"]
        for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    }
    assert alerts == set(CASES)
    series = {
        True: [one for case in CASES.values() for one in case.ill.items()],
        False: [one for case in CASES.values() for one in case.well.items()],
    }
    # In two tests rather than one for each: they are of different metrics, and each costs a second.
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series[fires]],
            # How many fire: what they say is templates, which the check of the rules reads.
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                    "eval_time": case.at,
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
                for alert, case in CASES.items()
            ],
        }
        for fires in (True, False)
    ]
    for ill in series.values():
        assert len(dict(ill)) == len(ill), "two cases of one series"
    wanted = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    path = tmp_path / "alerts_test.yml"
    path.write_text(json.dumps(wanted))
    assert "SUCCESS" in promtool("test", "rules", str(path))


def test_alerts_and_queries_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    """Prometheus reads each of them, with Grafana's variables filled in."""
    assert "SUCCESS" in promtool("check", "rules", str(ALERTS))
    rules = []
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for variable, value in VARIABLES.items():
                query = query.replace(variable, value)
            assert "$" not in query
            rules.append({"record": f"panel_{panel['id']}_{target['refId']}", "expr": query})
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))


def promtool(*arguments: str) -> str:
    """What it says, if it is content."""
    program = require_binary("promtool", "prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
