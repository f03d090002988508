"""A demo for the conformance pack: `gatepass demo` with more clients and short sessions."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from conformance.client import Http
from conformance.target import Target
from harness.altered_issuer import write_shift
from harness.issuer_app import CHEAP_HASHING
from harness.processes import short_directory
from harness.running_demo import RunningDemo
from jwt import get_algorithm_by_name

from keys import DirectoryStore

SECRET = "what the pack's resource servers know"
ORIGIN = "https://app.example"
REUSE_INTERVAL = 0.1
"""Seconds; ten would be waited for in full."""


@contextmanager
def running_target(*mutants: str) -> Iterator[Target]:
    """A demo that offers all that the checks may need; `mutants` are of `altered_issuer`."""
    directory = short_directory("gp-conf-")
    shift_file = directory / "shift"
    write_shift(shift_file, 0.0)
    settings = f"demo-settings={json.dumps(_settings())}"
    alterations = (f"demo-clock={shift_file}", settings, *mutants)
    with RunningDemo(directory / "state", alterations=alterations) as demo:
        target = Target(
            base_url=demo.described["base_url"],
            api_url=demo.described["api_url"],
            username=demo.username,
            password=demo.password,
            client_id=demo.described["client_id"],
            introspector=("rs", SECRET),
            outsider=("other-rs", SECRET),
            other_client="other",
            idle_client="idle",
            absolute_client="absolute",
            origin=ORIGIN,
            signing_jwk=_signing_jwk(demo),
            grace=REUSE_INTERVAL,
            http=Http(),
        )
        yield target
        target.http.close()
    shutil.rmtree(directory)


def _settings() -> dict[str, Any]:
    """What differs from the demo's own."""
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    confidential = {"secret_sha256": digest, "introspect": True}
    api = {"audience": "demo-api", "scopes": ["read", "write"]}
    return {
        "clients": {
            "demo": {**api, "origins": [ORIGIN]},
            "idle": {**api, "idle": 1},
            "absolute": {**api, "absolute": 1},
            "other": {"audience": "other-api"},
            "rs": {"audience": "demo-api", **confidential},
            "other-rs": {"audience": "other-api", **confidential},
        },
        "hashing": CHEAP_HASHING,
        "reuse_interval": REUSE_INTERVAL,
    }


def _signing_jwk(demo: RunningDemo) -> dict[str, Any]:
    ring = DirectoryStore(demo.state_dir / "keys", None, development=True).load()
    key = ring.active("ES256")
    members = get_algorithm_by_name(key.alg).to_jwk(key.private, as_dict=True)
    return {**members, "alg": key.alg, "kid": key.kid}
