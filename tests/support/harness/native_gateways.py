"""Gateways that check tokens themselves, with the configuration of their pages in the docs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from harness.forward_auth import block_of, envoy
from harness.gatepass_command import PROGRAM, clean_environment
from harness.processes import Process, free_port, require_binary, until
from harness.stepped_clock import SteppedClock
from harness.warm_process import WarmProcess
from harness.web import Answer, ask

DOCS = Path(__file__).resolve().parents[3] / "docs" / "gateways"
READY_SECONDS = 60.0
HEARTBEAT_INTERVAL = 0.25
MAX_STALENESS = 2.0
METRICS_TOKEN = "what-prometheus-shows-an-agent-e5"


class Agent:
    """One `gatepass agent`, for a gateway of this kind."""

    def __init__(
        self,
        kind: str,
        issuer: str,
        denylist: str,
        *options: str,
        max_staleness: float = MAX_STALENESS,
        metrics_port: int | None = None,
        env: Mapping[str, str] | None = None,
        clock: SteppedClock | None = None,
    ) -> None:
        """`clock` is the one that it goes by."""
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        metrics = () if metrics_port is None else ("--metrics-port", str(metrics_port))
        self._arguments = [
            *("agent", kind, "--json", "--issuer", issuer, "--audience", "api"),
            *("--heartbeat-interval", str(HEARTBEAT_INTERVAL)),
            *("--max-staleness", str(max_staleness), *options, *metrics),
        ]
        # What is put under a program has to be there when that starts.
        self.process = (
            WarmProcess(self._arguments) if clock is None else Process([PROGRAM, *self._arguments])
        )
        self.process.env = {
            **clean_environment(),
            "GATEPASS_AGENT_DENYLIST": denylist,
            "GATEPASS_AGENT_METRICS_TOKEN_SHA256": sha256(METRICS_TOKEN.encode()).hexdigest(),
            **(env or {}),
            **(clock.env if clock is not None else {}),
        }

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def start(self) -> Self:
        """Start it and wait until the gateway is in step."""
        self.process.start()
        self.process.wait_for_line(r"in_step", timeout=READY_SECONDS)
        return self

    def metrics(self) -> str:
        """What it tells Prometheus."""
        answer = ask("GET", self.metrics_url, token=METRICS_TOKEN)
        assert answer.status == 200, answer.content
        return answer.content.decode()

    def prepare(self) -> None:
        """Let it write what the gateway needs to start."""
        process = WarmProcess([*self._arguments, "--prepare"], env=self.process.env)
        process.start()
        assert process.wait(READY_SECONDS) == 0, process.describe()


class Haproxy:
    """The system's HAProxy with a master process, as docs/gateways/haproxy.md starts it."""

    def __init__(self, directory: Path, backend: int, *, threads: int = 2) -> None:
        """`backend` is the port of what it protects, on loopback."""
        self.directory = directory / "gatepass"
        self.socket = directory / "admin.sock"
        self.master_socket = directory / "master.sock"
        self.port = free_port()
        text = block_of(DOCS / "haproxy.md", "haproxy")
        for documented, real in (
            ("127.0.0.1:8080", f"127.0.0.1:{self.port}"),
            ("127.0.0.1:8001", f"127.0.0.1:{backend}"),
            ("/run/haproxy/admin.sock", str(self.socket)),
            ("/etc/haproxy/gatepass", str(self.directory)),
        ):
            assert documented in text
            text = text.replace(documented, real)
        text = text.replace("    master-worker\n", f"    nbthread {threads}\n")
        self.config = directory / "haproxy.cfg"
        self.config.write_text(text)
        self.process = Process(
            [
                *(require_binary("haproxy", "haproxy", ["/usr/sbin"]), "-W"),
                *("-S", f"{self.master_socket},mode,600", "-f", str(self.config)),
                *("-f", str(self.directory / "keys.cfg")),
            ]
        )

    @property
    def options(self) -> tuple[str, ...]:
        """What an agent has to be told to serve it."""
        return (
            *("--directory", str(self.directory), "--socket", str(self.socket)),
            *("--master-socket", str(self.master_socket)),
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def start(self) -> Self:
        """Start it; the agent must have prepared its directory."""
        self.process.start()
        self.process.wait_for_url(f"{self.url}/public/", timeout=READY_SECONDS)
        return self

    def nothing_is_saved(self) -> None:
        """Wait until what its agent saved for a reload is gone, so that a start knows nothing."""
        state = self.directory / "state.map"
        for _ in until(30, "the saved copy to be forgotten"):
            if not state.read_text():
                return

    def ask(self, token: str | None, path: str = "/", **options: Any) -> Answer:
        """One request of a client."""
        return ask("GET", self.url + path, token=token, **options)


class Envoy:
    """Envoy with its own JWT filter, as docs/gateways/envoy-native.md starts it."""

    def __init__(self, directory: Path, backend: int, issuer: str, *, threads: int = 2) -> None:
        """`backend` is the port of what it protects, on loopback."""
        self.directory = directory / "gatepass"
        self.port = free_port()
        address = urlsplit(issuer)
        text = block_of(DOCS / "envoy-native.md", "yaml")
        for documented, real in (
            ("port_value: 8080", f"port_value: {self.port}"),
            ("port_value: 8001", f"port_value: {backend}"),
            (
                "address: id.example, port_value: 443",
                f"address: {address.hostname}, port_value: {address.port}",
            ),
            ("https://id.example", issuer),
            ("audiences: [orders]", "audiences: [api]"),
            ("cache_duration: 30s", "cache_duration: 1s"),
            ("/run/gatepass", str(self.directory)),
        ):
            assert documented in text
            text = text.replace(documented, real)
        # The issuer of the tests has no certificate.
        begin = text.index("      transport_socket:")
        text = text[:begin] + text[text.index("    - name: backend", begin) :]
        self.config = directory / "envoy.yaml"
        self.config.write_text(text)
        self.process = Process(
            [
                *(envoy(), "--config-path", str(self.config), "--log-level", "warning"),
                *("--concurrency", str(threads), "--use-dynamic-base-id"),
            ]
        )

    @property
    def options(self) -> tuple[str, ...]:
        """What an agent has to be told to serve it."""
        return ("--directory", str(self.directory))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def start(self) -> Self:
        """Start it; the agent must have prepared its directory."""
        self.process.start()
        self.process.wait_for_url(f"{self.url}/public/", timeout=READY_SECONDS)
        return self

    def ask(self, token: str | None, path: str = "/", **options: Any) -> Answer:
        """One request of a client."""
        return ask("GET", self.url + path, token=token, **options)


NativeGateway = Haproxy | Envoy
GATEWAYS = ("envoy", "haproxy")


@contextmanager
def guarded(
    kind: str,
    directory: Path,
    issuer: str,
    denylist: str,
    backend: int,
    *,
    threads: int = 2,
    max_staleness: float = MAX_STALENESS,
    clock: SteppedClock | None = None,
) -> Iterator[tuple[NativeGateway, Agent]]:
    """A gateway of this kind in front of a backend, and its agent, in step.

    Both go by `clock` where there is one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    gateway: NativeGateway
    if kind == "haproxy":
        gateway = Haproxy(directory, backend, threads=threads)
        options = (*gateway.options, "--keys-interval", "0.5")
    else:
        gateway = Envoy(directory, backend, issuer, threads=threads)
        options = gateway.options
    agent = Agent(
        *(kind, issuer, denylist, *options),
        max_staleness=max_staleness,
        metrics_port=free_port(),
        clock=clock,
    )
    if clock is not None:
        gateway.process.env |= clock.env
    agent.prepare()
    with gateway, agent:
        yield gateway, agent


@contextmanager
def asked_all_along(gateway: NativeGateway, token: str) -> Iterator[Counter[int]]:
    """Ask with a token from a thread, again and again; how often it has got which status."""
    found, ended = Counter[int](), threading.Event()

    def ask_again() -> None:
        while not ended.is_set():
            found[gateway.ask(token).status] += 1

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask_again)
        try:
            yield found
        finally:
            ended.set()
        asking.result()
