"""Attacks on the payload's JSON, each under a good signature."""

from __future__ import annotations

import json

from harness.attack_material import Material
from harness.attack_table import Attack, Make, attacks

CONFLICTS = {
    "iss": "https://evil.example", "sub": "admin", "aud": "everything", "exp": 2**40, "iat": 1,
    "jti": "J" * 21 + "A", "sid": "J" * 21 + "A", "scope": "admin", "roles": ["root"],
    "client_id": "admin", "sub_ver": 99,
}  # fmt: skip


def _written(more: str | bytes) -> Make:
    """Honest claims with something written behind them."""

    def make(m: Material) -> str:
        raw = more if isinstance(more, bytes) else more.encode()
        return m.signed(m.header(), json.dumps(m.claims)[:-1].encode() + raw + b"}")

    return make


def _first(members: str) -> Make:
    """Claims with something written in front of the honest ones."""

    def make(m: Material) -> str:
        honest = json.dumps(m.claims)[1:]
        return m.signed(m.header(), f"{{{members},{honest}".encode())

    return make


def _raw(payload: bytes) -> Make:
    return lambda m: m.signed(m.header(), payload)


def _around(before: bytes, after: bytes) -> Make:
    return lambda m: m.signed(m.header(), before + json.dumps(m.claims).encode() + after)


PAYLOADS: list[Attack] = [
    *attacks(
        "RFC 7519 section 4: claims are unique",
        "malformed",
        {
            **{
                f"{name} twice, the other one last": _written(f',"{name}":{json.dumps(value)}')
                for name, value in CONFLICTS.items()
            },
            **{
                f"{name} twice, the other one first": _first(f'"{name}":{json.dumps(value)}')
                for name, value in CONFLICTS.items()
            },
            "sub twice by an escape": _written(',"s\\u0075b":"admin"'),
            "nbf twice": _written(',"nbf":1,"nbf":1'),
            "a claim twice deeper down": _written(',"cnf":{"jkt":"a","jkt":"b"}'),
        },
    ),
    *attacks(
        "RFC 7519 section 7.2: claims are one JSON object",
        "malformed",
        {
            **{
                f"a payload of {raw!r:.40}": _raw(raw)
                for raw in (
                    b"",
                    b"[]",
                    b"null",
                    b"1",
                    b'"x"',
                    b"{",
                    b"true",
                    b"\0",
                    b"NaN",
                    b"[" * 5000,
                    b"{" * 5000,
                    b'{"a":' * 1000,
                )
            },
            "claims in an array": _around(b"[", b"]"),
            "claims and more": _around(b"", b"{}"),
            "claims and a zero byte": _around(b"", b"\0"),
            "claims behind a comment": _around(b"/**/", b""),
            "claims behind a byte order mark": _around(b"\xef\xbb\xbf", b""),
            "claims in UTF-16": lambda m: m.signed(
                m.header(), json.dumps(m.claims).encode("utf-16")
            ),
            "claims in UTF-32": lambda m: m.signed(
                m.header(), json.dumps(m.claims).encode("utf-32-be")
            ),
            "a trailing comma": _written(","),
        },
    ),
    *attacks(
        "RFC 8259 sections 6, 8.1 and 8.2; RFC 3629 section 3",
        "malformed",
        {
            **{
                f"{why} in the payload": _written(f',"x":{text}')
                for why, text in {
                    "NaN": "NaN",
                    "Infinity": "Infinity",
                    "-Infinity": "-Infinity",
                    "1e400": "1e400",
                    "-1e400": "-1e400",
                    "1e400 in a list": "[1e400]",
                    "a number in hexadecimal": "0x10",
                    "a number with a leading zero": "01",
                    "a number with a plus": "+1",
                    "a huge integer": "9" * 4500,
                    "an integer beyond all floats": "9" * 309,
                    "a negative integer beyond all floats": "-" + "9" * 400,
                    "a high surrogate alone": '"\\ud800"',
                    "a low surrogate alone": '"\\udc00"',
                    "surrogates in the wrong order": '"\\udc00\\ud800"',
                    "a surrogate for a name": '{"\\ud800":1}',
                    "a control character": '"\n"',
                    "an unknown escape": '"\\x41"',
                    "257 brackets": "[" * 257 + "]" * 257,
                    "2000 brackets": "[" * 2000 + "]" * 2000,
                    "200 nested objects and as many lists": '[{"a":' * 200 + "1" + "}]" * 200,
                    "brackets without an end": "[" * 3000,
                }.items()
            },
            "overlong UTF-8 for a slash": _written(b',"x":"\xc0\xaf"'),
            "overlong UTF-8 for a quote": _written(b',"x":"\xc0\xa2"'),
            "overlong UTF-8 of three bytes": _written(b',"x":"\xe0\x80\xaf"'),
            "overlong UTF-8 of four bytes": _written(b',"x":"\xf0\x80\x80\xaf"'),
            "a surrogate in UTF-8": _written(b',"x":"\xed\xa0\x80"'),
            "beyond Unicode in UTF-8": _written(b',"x":"\xf4\x90\x80\x80"'),
            "half a character": _written(b',"x":"\xe2\x82"'),
            "a byte of no encoding": _written(b',"x":"\xff"'),
        },
    ),
]
