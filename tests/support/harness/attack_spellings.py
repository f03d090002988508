"""Attacks on base64url, on the compact form, and on sizes."""

from __future__ import annotations

import json
from collections.abc import Callable

from harness.attack_material import Material, encoded
from harness.attack_table import Attack, Make, attacks

from tokens.compact import MAX_HEADER, MAX_SIGNATURE, MAX_TOKEN


def _as_text(change: Callable[..., str]) -> Make:
    """Something done to an honest token as a text."""
    return lambda m: change(m.token())


def _as_parts(change: Callable[..., str]) -> Make:
    return lambda m: change(*m.token().split("."))


def _respelled(which: int, spelling: str) -> Make:
    """Another spelling of the bytes of one segment, which the honest key signs as it is."""

    def make(m: Material) -> str:
        # Of a length that leaves room for padding and for unused bits.
        header, payload = m.header(x=""), dict(m.claims, x="")
        while len(json.dumps(header)) % 3 != 1:
            header["x"] += "x"
        while len(json.dumps(payload)) % 3 != 1:
            payload["x"] += "x"
        segments = [encoded(header), encoded(payload)]
        if which < 2:
            segments[which] = respell(segments[which], spelling)
            return m.signed(segments[0], segments[1])
        head, _, signature = m.signed(*segments).rpartition(".")
        return f"{head}.{respell(signature, spelling)}"

    return make


def respell(segment: str, spelling: str) -> str:
    """A segment that a lax decoder reads as the same bytes."""
    last = chr(ord(segment[-1]) + 1)
    half = len(segment) // 2
    return {
        "padded": segment + "=" * (-len(segment) % 4),
        "padded too much": segment + "====",
        "with unused bits": segment[:-1] + last,
        "with a line break inside": segment[:half] + "\n" + segment[half:],
        "with a space inside": segment[:half] + " " + segment[half:],
        "with a carriage return behind": segment + "\r",
        "with a tab in front": "\t" + segment,
        "with a zero byte behind": segment + "\0",
        "with a foreign character inside": segment[:half] + "!" + segment[half:],
        "with a foreign character behind": segment + "*",
        "with a percent escape": segment[:half] + "%41"[:0] + f"%{ord(segment[half]):02X}"
        + segment[half + 1 :],
        "with a plus for a minus": segment[:half] + "+" + segment[half:],
        "with a slash for an underscore": segment[:half] + "/" + segment[half:],
    }[spelling]  # fmt: skip


SPELLINGS = (
    "padded", "padded too much", "with unused bits", "with a line break inside",
    "with a space inside", "with a carriage return behind", "with a tab in front",
    "with a zero byte behind", "with a foreign character inside",
    "with a foreign character behind", "with a percent escape", "with a plus for a minus",
    "with a slash for an underscore",
)  # fmt: skip
SEGMENTS = ("header", "payload", "signature")


def _flattened(m: Material) -> str:
    header, payload, signature = m.token().split(".")
    return json.dumps({"protected": header, "payload": payload, "signature": signature})


def _general(m: Material) -> str:
    header, payload, signature = m.token().split(".")
    return json.dumps(
        {"payload": payload, "signatures": [{"protected": header, "signature": signature}]}
    )


def _general_unsigned(m: Material) -> str:
    return json.dumps({"payload": encoded(m.claims), "signatures": []})


def _cut(count: int) -> Make:
    return lambda m: m.token()[:-count]


FULL_WIDTH = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x30, 0x7B)})

SPELLINGS_OF_TOKENS: list[Attack] = [
    *attacks(
        "RFC 7515 section 2, RFC 4648 sections 3.2 to 3.5: one spelling for one token",
        "malformed",
        {
            f"the {segment} {spelling}": _respelled(which, spelling)
            for which, segment in enumerate(SEGMENTS)
            for spelling in SPELLINGS
        },
    ),
    *attacks(
        "RFC 7515 section 7.1",
        "malformed",
        {
            **{
                f"a token {why}": _as_text(change)
                for why, change in {
                    "behind a space": lambda t: f" {t}",
                    "behind a tab": lambda t: f"\t{t}",
                    "behind a line break": lambda t: f"\n{t}",
                    "before a line break": lambda t: f"{t}\n",
                    "before a space and a word": lambda t: f"{t} x",
                    "before a zero byte": lambda t: f"{t}\0",
                    "behind a zero byte": lambda t: f"\0{t}",
                    "behind a byte order mark": lambda t: f"\ufeff{t}",
                    "before a no-break space": lambda t: f"{t}\xa0",
                    "before a zero-width space": lambda t: f"{t}\u200b",
                    "behind a next-line character": lambda t: f"\x85{t}",
                    "in full width": lambda t: t.translate(FULL_WIDTH),
                    "with full stops of another kind": lambda t: t.replace(".", "\u3002"),
                    "with commas for dots": lambda t: t.replace(".", ","),
                    "before a comma": lambda t: f"{t},",
                    "before a dot": lambda t: f"{t}.",
                    "behind a dot": lambda t: f".{t}",
                    "of six parts": lambda t: f"{t}.x.x.x",
                    "of a thousand parts": lambda t: t + "." * 1000,
                    "in quotes": lambda t: f'"{t}"',
                    "in a list": lambda t: f'["{t}"]',
                    "twice": lambda t: f"{t}{t}",
                    "twice, with a dot": lambda t: f"{t}.{t}",
                    "in base64url": lambda t: encoded(t.encode()),
                    "escaped for a URL": lambda t: t.replace(".", "%2E"),
                }.items()
            },
            "nothing": lambda _: "",
            "two dots": lambda _: "..",
            "four dots": lambda _: "....",
            "a word": lambda _: "x",
            "flattened JSON": _flattened,
            "general JSON": _general,
            "general JSON without signatures": _general_unsigned,
            "header and payload": _as_parts(lambda h, p, _s: f"{h}.{p}"),
            "a signature alone": _as_parts(lambda _h, _p, s: s),
        },
    ),
    *attacks(
        "RFC 7515 appendix F, RFC 8725 section 3.3",
        "bad_signature",
        {
            "detached": _as_parts(lambda h, _p, s: f"{h}..{s}"),
            "an unsecured form": _as_parts(lambda h, p, _s: f"{h}.{p}."),
            "another payload": lambda m: m.unsigned(
                m.header(), m.token().rpartition(".")[2], m.with_({"sub": "admin"})
            ),
            "another header": lambda m: m.unsigned(m.header(x=1), m.token().rpartition(".")[2]),
        },
    ),
    *attacks(
        "RFC 7515 section 7.1",
        "malformed",
        {
            "parts out of order": _as_parts(lambda h, p, s: f"{s}.{h}.{p}"),
            "an empty header": _as_parts(lambda _h, p, s: f".{p}.{s}"),
            "cut by a character": _cut(1),
        },
    ),
    *attacks(
        "RFC 8725 section 2.5: sizes are capped before anything is parsed",
        "too_large",
        {
            "a large claim under a good signature": lambda m: m.token(x="x" * MAX_TOKEN),
            "a large header under a good signature": lambda m: m.signed(
                m.header(x="x" * MAX_HEADER)
            ),
            "a large signature": lambda m: m.unsigned(m.header(), bytes(MAX_SIGNATURE)),
            "12,000 characters": lambda _: "A" * 12_000,
            "12,000 dots": lambda _: "." * 12_000,
            "a large payload of brackets": lambda m: m.signed(m.header(), b"[" * MAX_TOKEN),
        },
    ),
    *attacks(
        # Whether what is left is canonical base64url depends on the signature.
        "RFC 7518 section 3.4",
        "",
        {"cut by four characters": _cut(4), "half of a signature": _cut(43)},
    ),
]
