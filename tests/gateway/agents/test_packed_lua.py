"""The Lua with which Envoy reads the replica's file, beside the Python that writes it."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
from pathlib import Path

from harness.gateway_lua import in_envoy

from revocation import NEVER, Record
from revocation.packed_copy import PackedCopy
from revocation.table_storage import SharedFile, boot_id

LOOK = """
local copies = {}
local function answer(path, kind, id)
  copies[path] = copies[path] or packed.open(path)
  local copy = copies[path]
  if not copy then return "none" end
  if not kind then
    local header = packed.read_header(copy)
    local salts = {}
    for i, salt in ipairs(copy.salts) do
      salts[i] = salt:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
    end
    return ("%s %s %d %s"):format(tostring(packed.superseded(copy)), tostring(header),
      copy.watermark, table.concat(salts, ","))
  end
  return ("%.0f"):format(packed.level_of(copy, kind, id))
end
"""


def written(path: Path, records: list[Record]) -> PackedCopy:
    """A replica's file with these records."""
    path.parent.chmod(0o700)
    copy = PackedCopy(SharedFile(path, bytes(16)))
    copy.begin(b"a" * 32)
    copy.begin(b"b" * 32)
    copy.raise_watermark(1_700_000_000)
    copy.merge(records)
    return copy


def test_the_replicas_file_is_read_alike(tmp_path: Path) -> None:
    """Every record of a file that has grown is found, at its level; what is not there is not."""
    choose = random.Random(secrets.token_bytes(8))
    kinds = [bytes([letter]) for letter in b"tsukc"]
    records = [
        Record(choose.choice(kinds) + choose.randbytes(16), choose.choice([1, 5, NEVER]), NEVER)
        for _ in range(3000)
    ]
    # The same identifier under two kinds, and two that begin at one place.
    ids = [bytes(16), bytes(15) + b"\x01", bytes(8) + b"x" * 8]
    records += [
        Record(kind + one, place + 2, NEVER) for kind in kinds for place, one in enumerate(ids)
    ]
    path = tmp_path / "replica"
    copy = written(path, records)
    keys = [record.key for record in records]
    keys += [choose.choice(kinds) + choose.randbytes(16) for _ in range(1000)]
    asked = [[str(path).encode(), key[:1], key[1:]] for key in keys]
    found = in_envoy(tmp_path, LOOK, [[str(path).encode()], *asked])
    salts = f"{(b'b' * 32).hex()},{(b'a' * 32).hex()}"
    assert found[0] == f"false true 1700000000 {salts}".encode()
    assert [int(level) for level in found[1:]] == [copy.level_of(key) for key in keys]


def test_a_file_that_is_none_of_ours_is_not_read(tmp_path: Path) -> None:
    """Missing, empty, torn, of another format, or of another boot of the machine."""
    good = tmp_path / "replica"
    written(good, [])
    octets = good.read_bytes()
    others = {
        "empty": b"",
        "short": octets[:100],
        "cut": octets[:-8],
        "long": octets + bytes(8),
        "format": b"GPCOPY01" + octets[8:],
        "boot": octets[:80] + bytes(16) + octets[96:],
        "capacity": octets[:48] + bytes(8) + octets[56:],
    }
    for name, text in others.items():
        (tmp_path / name).write_bytes(text)
    asked = [[str(tmp_path / name).encode()] for name in [*others, "missing", "replica"]]
    found = in_envoy(tmp_path, LOOK, asked)
    assert found[:-1] == [b"none"] * (len(others) + 1)
    assert found[-1].startswith(b"false true")


def test_the_blocks_of_a_header_take_turns(tmp_path: Path) -> None:
    """The one that the count names is read; more salts than there may be are nothing to go by."""
    path = tmp_path / "replica"
    copy = written(path, [])
    octets = path.read_bytes()
    copy.raise_watermark(1_700_000_001)
    newer = path.read_bytes()
    count = int.from_bytes(octets[8:16], "little")
    assert int.from_bytes(newer[8:16], "little") == count + 1
    block = 512 + (count % 2) * 512
    many = octets[: block + 8] + (10).to_bytes(8, "little") + octets[block + 16 :]
    over = octets[:64] + (1).to_bytes(8, "little") + octets[72:]
    back = newer[:8] + octets[8:16] + newer[16:]
    for name, text in {"many": many, "over": over, "newer": newer, "back": back}.items():
        (tmp_path / name).write_bytes(text)
    names = ("many", "over", "newer", "back")
    found = in_envoy(tmp_path, LOOK, [[str(tmp_path / name).encode()] for name in names])
    assert found[0].startswith(b"false false -1 ")
    assert found[1].startswith(b"true true 1700000000 ")
    assert found[2].startswith(b"false true 1700000001 ")
    assert found[3].startswith(b"false true 1700000000 ")


def test_a_file_of_another_time_namespace_is_not_read(tmp_path: Path) -> None:
    """By the clock of a container that starts anew it may be of a time to come, never too old."""
    ahead = ("unshare", "--time", "--boottime", "100000", "--")
    program = "from revocation.table_storage import boot_id; print(boot_id().hex())"
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*ahead, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=path,
    )
    there = bytes.fromhex(done.stdout)
    assert there != boot_id()
    written(tmp_path / "here", [])
    octets = (tmp_path / "here").read_bytes()
    assert octets[80:96] == boot_id()
    (tmp_path / "there").write_bytes(octets[:80] + there + octets[96:])
    asked = [[str(tmp_path / name).encode()] for name in ("here", "there")]
    known = [answer != b"none" for answer in in_envoy(tmp_path, LOOK, asked)]
    assert known == [True, False]
    known = [answer != b"none" for answer in in_envoy(tmp_path, LOOK, asked, ahead)]
    assert known == [False, True]
