"""Runs our Lua in the interpreters that the gateways bring: HAProxy's Lua 5.3, Envoy's LuaJIT."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.forward_auth import envoy
from harness.processes import require_binary

from gateway.agents.lua_source import bundle, modules_of

_FRAME = """
local function hex(text)
  return (text:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end
local function unhex(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end
local lines = io.open(settings.given, "r")
local answers = io.open(settings.answers, "w")
for line in lines:lines() do
  local words = {}
  for word in line:gmatch("[^ ]+") do words[#words + 1] = word ~= "-" and unhex(word) or "" end
  local found = answer((table.unpack or unpack)(words))
  answers:write(hex(tostring(found)), "\\n")
end
answers:close()
"""


_TYPES = "type.googleapis.com/envoy.extensions.filters"
_ENVOY = """
static_resources:
  listeners:
    - address: {socket_address: {address: 127.0.0.1, port_value: 0}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": TYPES.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: x
                route_config: {}
                http_filters:
                  - name: envoy.filters.http.lua
                    typed_config:
                      "@type": TYPES.http.lua.v3.Lua
                      default_source_code: {filename: PROGRAM}
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": TYPES.http.router.v3.Router
"""


def in_haproxy(directory: Path, body: str, given: Sequence[Sequence[bytes]]) -> list[bytes]:
    """What the Lua function `answer` of `body` makes of each list of texts, inside HAProxy."""
    names = ["json", "claims", "denylist", "digests", "identity"]
    program = _prepared(directory, body, given, {"blake2b": "blake2b53.lua", **modules_of(names)})
    (directory / "haproxy.cfg").write_text(f"global\n  lua-load {program}\n")
    haproxy = require_binary("haproxy", "haproxy", ["/usr/sbin"])
    return _answers(directory, [haproxy, "-c", "-f", str(directory / "haproxy.cfg")])


def in_envoy(
    directory: Path, body: str, given: Sequence[Sequence[bytes]], prefix: Sequence[str] = ()
) -> list[bytes]:
    """The same inside Envoy, which loads a filter to see whether a configuration is right.

    `prefix` begins its command line.
    """
    names = ["claims", "denylist", "digests", "identity", "packed"]
    program = _prepared(directory, body, given, {"blake2b": "blake2b_jit.lua", **modules_of(names)})
    (directory / "envoy.yaml").write_text(
        _ENVOY.replace("PROGRAM", str(program)).replace("TYPES", _TYPES)
    )
    options = ["--mode", "validate", "--use-dynamic-base-id", "--concurrency", "1"]
    return _answers(directory, [*prefix, envoy(), *options, "-c", str(directory / "envoy.yaml")])


def _prepared(
    directory: Path, body: str, given: Sequence[Sequence[bytes]], modules: Mapping[str, str]
) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    asked, answers = directory / "given", directory / "answers"
    answers.unlink(missing_ok=True)
    asked.write_text(
        "".join(" ".join(text.hex() or "-" for text in texts) + "\n" for texts in given)
    )
    program = bundle(body + _FRAME, modules, {"given": str(asked), "answers": str(answers)})
    (directory / "main.lua").write_text(program)
    return directory / "main.lua"


def _answers(directory: Path, command: Sequence[str]) -> list[bytes]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    answers = directory / "answers"
    assert answers.exists(), done.stderr
    assert "main.lua" not in done.stderr, done.stderr
    return [bytes.fromhex(line) for line in answers.read_text().splitlines()]
