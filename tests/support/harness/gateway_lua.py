"""Runs our Lua in the interpreters that the gateways bring: HAProxy's Lua 5.3, Envoy's LuaJIT."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

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
  local found = answer(table.unpack(words))
  answers:write(hex(tostring(found)), "\\n")
end
answers:close()
"""


def in_haproxy(
    directory: Path, body: str, given: Sequence[Sequence[bytes]], blake2b: str = "blake2b53.lua"
) -> list[bytes]:
    """What the Lua function `answer` of `body` makes of each list of texts, inside HAProxy."""
    directory.mkdir(parents=True, exist_ok=True)
    asked, answers = directory / "given", directory / "answers"
    asked.write_text(
        "".join(" ".join(text.hex() or "-" for text in texts) + "\n" for texts in given)
    )
    modules = {"blake2b": blake2b, **modules_of(["json", "claims", "denylist", "identity"])}
    program = bundle(body + _FRAME, modules, {"given": str(asked), "answers": str(answers)})
    (directory / "main.lua").write_text(program)
    (directory / "haproxy.cfg").write_text(f"global\n  lua-load {directory}/main.lua\n")
    haproxy = require_binary("haproxy", "haproxy", ["/usr/sbin"])
    done = subprocess.run(
        [haproxy, "-c", "-f", str(directory / "haproxy.cfg")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Lua" not in done.stderr, done.stderr
    return [bytes.fromhex(line) for line in answers.read_text().splitlines()]
