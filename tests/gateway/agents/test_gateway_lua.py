"""The Lua that runs inside gateways, beside the Python that it must agree with."""

from __future__ import annotations

import hashlib
import json
import random
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.gateway_lua import in_envoy, in_haproxy

from gateway.agents import lua_source
from gateway.identity import identity_headers
from revocation import Kind, Probe
from revocation.entry import record_key, refusal
from tokens import AccessClaims, AccessVerifier, TokenError, VerificationKey, base64url, strict_json

Run = Callable[[Path, str, list[list[bytes]]], list[bytes]]

KINDS = {Kind.SUBJECT: b"u", Kind.KEY: b"k", Kind.CLIENT: b"c"}


@pytest.mark.parametrize("run", [in_haproxy, in_envoy])
def test_keyed_blake2b_is_the_same(tmp_path: Path, run: Run) -> None:
    """Digests of random names under random salts are those of hashlib, at every length."""
    body = """
    local function answer(salt, person, text)
      return blake2b.digest(blake2b.keyed(salt, person), text)
    end
    """
    asked = []
    for length in [*range(1, 300), 1000, 4096]:
        salt = secrets.token_bytes(secrets.choice([16, 32, 64]))
        asked.append([salt, secrets.choice(list(KINDS.values())), secrets.token_bytes(length)])
    wanted = [
        hashlib.blake2b(text, digest_size=16, key=salt, person=person).digest()
        for salt, person, text in asked
    ]
    assert run(tmp_path, body, asked) == wanted


REMEMBERED = """
local made = 0
local counting = {keyed = blake2b.keyed}
function counting.digest(...)
  made = made + 1
  return blake2b.digest(...)
end
local id_of = digests.remembered(counting, function(raw) return raw end)
local function answer(kind, name, salt)
  if kind == "" then return made end
  return id_of(kind, name, salt)
end
"""
"""Identifiers as the agents remember them; without a kind, how many were computed."""
KEPT = ("local MOST = 8192", "local MOST = 8")


def remembered_wrongly(monkeypatch: pytest.MonkeyPatch, directory: Path, run: Run) -> bool:
    """Whether names are given what others have, or one of theirs under a salt that is gone."""
    source = lua_source.source
    monkeypatch.setattr(lua_source, "source", lambda name: source(name).replace(*KEPT))
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    twice = [[b"u", b"ann", old]] * 2
    asked = [*twice, [b"u", b"ann", new], [b"c", b"ann", new], [b"u", b"bob", new], *twice]
    # As many more as are kept: what was first is computed anew.
    asked += [[b"k", b"%d" % number, new] for number in range(8)]
    asked += [[b"u", b"ann", new]]
    wanted = [
        hashlib.blake2b(name, digest_size=16, key=salt, person=kind).digest()
        for kind, name, salt in asked
    ]
    return run(directory, REMEMBERED, [*asked, [b"", b"", b""]]) != [*wanted, b"13"]


@pytest.mark.parametrize("run", [in_haproxy, in_envoy])
def test_no_identifier_outlives_its_salt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run
) -> None:
    """Remembered digests are those of hashlib under the salt of now, and no more than some."""
    assert not remembered_wrongly(monkeypatch, tmp_path, run)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("local start = kind .. salt", "local start = kind"),
        ("local start = kind .. salt", "local start = salt"),
        ("local at = start .. name", "local at = start"),
        ("if not id then", "if true then"),
        ("if kept >= MOST then digests, kept = {}, 0 end", ""),
    ],
)
def test_a_memory_that_confuses_names_is_caught(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, instead: str
) -> None:
    """The comparison sees digests that survive their salt, and those that are never forgotten."""
    source = lua_source.source
    assert text in source("digests.lua")
    monkeypatch.setattr(lua_source, "source", lambda name: source(name).replace(text, instead))
    assert remembered_wrongly(monkeypatch, tmp_path, in_haproxy)


# --- the denylist -------------------------------------------------------------------------------

REFUSAL = """
local function answer(input)
  local given = json.decode(input)
  local function hex(text)
    return (text:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
  end
  local function byte(pair) return string.char(tonumber(pair, 16)) end
  local function level(kind, raw) return given.levels[kind .. hex(raw)] or 0 end
  local salts = {}
  for i = 1, given.salts.n do salts[i] = given.salts[i]:gsub("%x%x", byte) end
  local copy = {
    id_level = function(kind, id) return given.levels[kind .. id] or 0 end,
    name_level = function(kind, name, salt)
      return level(kind, blake2b.digest(blake2b.keyed(salt, kind), name))
    end,
    salts = salts, watermark = given.watermark,
  }
  return denylist.refusal(given.claims, claims.audiences(given.claims.aud), given.kid, copy)
end
"""


def some_claims(choose: random.Random) -> AccessClaims:
    """A token whose names come from a few, so that entries hit them."""
    return AccessClaims(
        iss="https://id.example",
        sub=choose.choice(["a", "zoë", "b" * 200]),
        aud=tuple(choose.sample(["api", "x", "y"], choose.randint(1, 3))),
        client_id=choose.choice(["web", "x"]),
        iat=choose.randint(98, 102),
        exp=400,
        jti=base64url.encode(bytes([choose.randint(0, 3)]) * 16),
        sid=base64url.encode(bytes([choose.randint(4, 7)]) * 16),
        auth_time=90,
        sub_ver=choose.randint(0, 4),
        amr=("pwd",),
        scope="",
    )


def some_levels(choose: random.Random, salts: list[bytes]) -> dict[bytes, int]:
    """A few entries that hit some of those tokens."""
    levels = {}
    for _ in range(choose.randint(0, 3)):
        kind = choose.choice([*KINDS, Kind.TOKEN, Kind.SESSION])
        value, level = {
            Kind.TOKEN: (base64url.encode(bytes([choose.randint(0, 3)]) * 16), 1),
            Kind.SESSION: (base64url.encode(bytes([choose.randint(4, 7)]) * 16), 1),
            Kind.SUBJECT: (choose.choice(["a", "zoë", "b" * 200]), choose.randint(0, 5)),
            Kind.KEY: (choose.choice(["k1", "k2"]), 1),
            Kind.CLIENT: (choose.choice(["api", "web", "x", "y"]), choose.randint(97, 103)),
        }[kind]
        levels[record_key(kind, value, choose.choice(salts))] = level
    return levels


def denylist_disagreements(directory: Path) -> int:
    """How many random tokens, under random entries, fare otherwise in Lua than in Python."""
    choose = random.Random(secrets.token_bytes(8))
    asked, wanted = [], []
    for _ in range(3000):
        salts = [choose.randbytes(32) for _ in range(choose.choice([1, 1, 2, 3]))]
        claims, kid, levels = (
            some_claims(choose),
            choose.choice(["k1", "k2"]),
            some_levels(choose, salts),
        )
        watermark = choose.choice([-1, 99, 100, 101])
        kinds = [
            refusal(Probe.of(claims, kid, salt), lambda key, of=levels: of.get(key, 0), watermark)
            for salt in salts
        ]
        wanted.append((len(salts), next((kind for kind in kinds if kind), None)))
        given = {
            "claims": claims.to_payload(),
            "kid": kid,
            "levels": {_name(key): level for key, level in levels.items()},
            "salts": [salt.hex() for salt in salts],
            "watermark": watermark,
        }
        asked.append([json.dumps(given).encode()])
    found = [text.decode() for text in in_haproxy(directory, REFUSAL, asked)]
    assert len({kind for _, kind in wanted}) == 7
    return sum(
        text != (kind or "nil") if salts_used == 1 else (text == "nil") != (kind is None)
        for (salts_used, kind), text in zip(wanted, found, strict=True)
    )


def test_the_denylist_is_read_alike(tmp_path: Path) -> None:
    """Refused where Python refuses, and of the same kind where there is one epoch."""
    assert denylist_disagreements(tmp_path) == 0


def _name(key: bytes) -> str:
    kind, raw = key[:1].decode(), key[1:]
    return kind + (base64url.encode(raw) if kind in "ts" else raw.hex())


# --- claims -------------------------------------------------------------------------------------

CLAIMS = """
settings.issuer, settings.audience, settings.leeway, settings.max_lifetime =
  "https://id.example", "api", 10, 3600
local function answer(text, now)
  local payload = json.decode(text)
  return payload and claims.acceptable(payload, settings, math.tointeger(tonumber(now)))
end
"""
NOW = 1_800_000_000
GOOD: dict[str, Any] = {
    "iss": "https://id.example",
    "sub": "someone",
    "aud": "api",
    "client_id": "web",
    "iat": NOW - 20,
    "exp": NOW + 290,
    "jti": "AAAAAAAAAAAAAAAAAAAAAA",
    "sid": "_-AAAAAAAAAAAAAAAAAAAQ",
    "auth_time": NOW - 10,
    "sub_ver": 3,
    "amr": ["pwd"],
    "scope": "read write",
}
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.0, 1e300, 1 << 53, (1 << 53) + 1, NOW, NOW + 10, NOW + 11),
    *(NOW - 10, NOW - 9, NOW - 11, NOW + 3600, NOW + 3590, NOW + 3591, "", "x", "api", " ", "a b"),
    *("a  b", " a", "a\\b", 'a"b', "é", "\x7f", "\t", "AAAAAAAAAAAAAAAAAAAAAB", "A" * 21),
    *("A" * 23, "AAAAAAAAAAAAAAAAAAAAA+", [], ["x"], ["x", "api"], ["api", ""], ["api", 1], {}),
    *([[]], {"n": 1}, {"0": "api", "n": 1}, "https://id.example", "https://id.example/", "\0"),
]
RAW = [
    "",
    "{",
    "{}",
    "[]",
    "null",
    "1",
    "{}{}",
    "{} x",
    " {}\n",
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"a":[}',
    '{"a":01}',
    '{"a":-}',
    '{"a":.5}',
    '{"a":1.}',
    '{"a":1e}',
    '{"a":1e5}',
    '{"a":+1}',
    '{"a":NaN}',
    '{"a":Infinity}',
    '{"a":-Infinity}',
    '{"a":tru}',
    '{"a":"\\x"}',
    '{"a":"\\ud800"}',
    '{"a":"\\ud83d\\ude00"}',
    '{"a":"\\udc00"}',
    '{"a":"\x01"}',
    '{"a":"\n"}',
    '{"a":"\x7f"}',
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    "{,}",
    "{'a':1}",
    '{"a":"\\/\\b\\f\\n\\r\\t\\"\\\\"}',
    '{"a":"\\',
    '{"a":"\\"}',
    "\ufeff{}",
    '{"a":' + "[" * 250 + "]" * 250 + "}",
    '{"a":' + "[" * 256 + "]" * 256 + "}",
    '{"a":-0}',
    '{"a":[1,]}',
    '{"a":[1 2]}',
    '{"a" : [ 1 , 2 ] }',
    '{"a":"\u2028"}',
    "{\u00a0}",
]


def python_accepts(text: bytes) -> bool:
    """Whether the verifier takes a payload, its signature aside."""

    def no_key(_kid: str) -> VerificationKey:
        raise AssertionError

    verifier = AccessVerifier(
        issuer="https://id.example",
        audience="api",
        find_key=no_key,
        max_lifetime=3600,
        clock=lambda: float(NOW),
    )
    try:
        verifier.check_claims(AccessClaims.from_payload(strict_json.loads_object(text)))
    except TokenError:
        return False
    return True


def claims_disagreements(directory: Path) -> list[bytes]:
    """Payloads, every claim with every kind of value, that fare otherwise than in Python."""
    payloads = [dict(GOOD)]
    for name in [*GOOD, "roles", "nbf", "other"]:
        payloads += [{**GOOD, name: value} for value in VALUES]
        payloads.append({key: value for key, value in GOOD.items() if key != name})
    texts = [json.dumps(payload).encode() for payload in payloads]
    texts += [json.dumps(payload, ensure_ascii=False, indent=1).encode() for payload in payloads]
    # What is no JSON of ours inside a payload that is fine otherwise, and by itself.
    good = json.dumps(GOOD).encode()
    for raw in RAW:
        texts += [raw.encode(), good[:-1] + b', "more": ' + (raw.encode() or b'""') + b"}"]
    texts += [
        good.replace(b"someone", bad)
        for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80")
    ]
    found = in_haproxy(directory, CLAIMS, [[text, str(NOW).encode()] for text in texts])
    wanted = [python_accepts(text) for text in texts]
    assert 100 < sum(wanted) < len(wanted) - 100
    return [
        text
        for text, accepted, answer in zip(texts, wanted, found, strict=True)
        if (answer == b"true") != accepted
    ]


def test_claims_are_read_alike(tmp_path: Path) -> None:
    """What the verifier takes passes, and nothing else does."""
    assert claims_disagreements(tmp_path) == []


MUTANTS = [
    ("denylist.lua", "claims.sub, salt) > claims.sub_ver", "claims.sub, salt) >= claims.sub_ver"),
    (
        "denylist.lua",
        "claims.client_id, salt) >= claims.iat",
        "claims.client_id, salt) > claims.iat",
    ),
    ("denylist.lua", "ipairs(parties)", "ipairs({})"),
    ("denylist.lua", "claims.iat <= copy.watermark", "claims.iat < copy.watermark"),
    ("denylist.lua", "ipairs(copy.salts)", "ipairs({copy.salts[1]})"),
    ("denylist.lua", 'copy.id_level("s", claims.sid) > 0', "false"),
    ("denylist.lua", 'copy.name_level("k", kid, salt) > 0', "false"),
    ("claims.lua", "now < payload.exp", "now <= payload.exp"),
    ("claims.lua", "payload.auth_time <= latest_start", "true"),
    ("claims.lua", "lifetime <= settings.max_lifetime", "true"),
    ("claims.lua", "payload.iss == settings.issuer", "true"),
    ("claims.lua", "and number(payload.iat)", ""),
    ("claims.lua", "return ours and", "return"),
    ("json.lua", "or members[name] ~= nil", ""),
]
"""Each makes the Lua milder, or stricter, in one place."""


@pytest.mark.parametrize(("file", "text", "instead"), MUTANTS)
def test_a_mutant_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, instead: str
) -> None:
    """One of the two comparisons above sees each mutant."""
    source = lua_source.source

    def mutated(name: str) -> str:
        found = source(name)
        return found.replace(text, instead) if name == file else found

    assert mutated(file) != source(file)
    monkeypatch.setattr(lua_source, "source", mutated)
    try:
        caught = denylist_disagreements(tmp_path) or claims_disagreements(tmp_path)
    except AssertionError as error:
        caught = "main.lua" in str(error)  # it failed outright on a form that it no longer checks
    assert caught


def test_identity_headers_are_the_same(tmp_path: Path) -> None:
    """The forward-auth service and the gateways themselves tell a backend the same."""
    body = """
    local function answer(text)
      local lines = {}
      for i, header in ipairs(identity.headers(json.decode(text))) do
        lines[i] = header[1] .. ": " .. header[2]
      end
      return table.concat(lines, "\\n")
    end
    """
    texts = ("someone", "zoë, 1%", "\r\n\t\0", "日本", "".join(map(chr, range(0x20, 0x7F))))
    others = [{**GOOD, "amr": [], "sub": text, "roles": [text, "b"], "acr": text} for text in texts]
    asked, wanted = [], []
    for payload in (GOOD, *others):
        claims = AccessClaims.from_payload(payload)
        asked.append([json.dumps(claims.to_payload()).encode()])
        wanted.append(b"\n".join(b"%b: %b" % header for header in identity_headers(claims)))
    assert in_haproxy(tmp_path, body, asked) == wanted
