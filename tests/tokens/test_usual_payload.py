"""The short way to read a payload takes what our issuer writes, and reads as the long one does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from harness.altered_tokens import altered_tokens
from hypothesis import given
from hypothesis import strategies as st

from tokens import AccessClaims, TokenError, strict_json, usual_payload

CLAIMS = AccessClaims(
    iss="https://id.example",
    sub="somebody",
    aud=("orders",),
    client_id="app",
    iat=1_800_000_000,
    exp=1_800_000_300,
    jti="A" * 21 + "A",
    sid="B" * 21 + "g",
    auth_time=1_800_000_000,
    sub_ver=0,
    amr=("pwd", "otp"),
    scope="read write",
    roles=("editor", "staff member"),
)


def written(payload: dict[str, Any], **options: Any) -> bytes:
    return json.dumps(payload, **{"separators": (",", ":"), **options}).encode()


def read_at_length(raw: bytes) -> AccessClaims | None:
    """What the parser makes of a payload, None where it refuses."""
    try:
        return AccessClaims.from_payload(strict_json.loads_object(raw))
    except TokenError:
        return None


texts = st.text(min_size=1, max_size=12)
lists = st.lists(texts, max_size=3).map(tuple)
scopes = st.lists(st.text("abc:/-~!#[]", min_size=1, max_size=5), max_size=3).map(" ".join)
times = st.integers(0, 1 << 54)
ids = st.text("AQgwxyz09-_", min_size=21, max_size=21).map(lambda text: f"{text}Q")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"roles": ()},
        {"scope": ""},
        {"amr": ()},
        {"amr": ("pwd",), "roles": ("a b",)},
        {"acr": "aal2"},
        {"acr": "aal1", "roles": ()},
        {"sub": "Zoë, 中: }]"},
        {"sub_ver": 999_999_999_999_999},
    ],
)
def test_what_our_issuer_writes_is_read_the_short_way(changes: dict[str, Any]) -> None:
    """Every form of it but those with escapes; the claims are the ones that were written."""
    claims = replace(CLAIMS, **changes)
    assert usual_payload.read(written(claims.to_payload(), ensure_ascii=False)) == claims


@given(
    st.builds(
        AccessClaims,
        iss=texts,
        sub=texts,
        aud=st.lists(texts, min_size=1, max_size=2).map(tuple),
        client_id=texts,
        iat=times,
        exp=times,
        jti=ids,
        sid=ids,
        auth_time=times,
        sub_ver=times,
        amr=lists,
        scope=scopes,
        roles=lists,
        acr=st.just("") | texts,
    ),
    st.booleans(),
)
def test_both_ways_read_any_claims_alike(claims: AccessClaims, ascii_only: bool) -> None:
    """What the short way takes, whatever the claims, is what the parser finds."""
    try:
        raw = written(claims.to_payload(), ensure_ascii=ascii_only)
    except UnicodeEncodeError:
        return  # half of a surrogate pair
    short = usual_payload.read(raw)
    assert short is None or short == read_at_length(raw)


RAW = written(CLAIMS.to_payload())


@given(
    st.integers(0, len(RAW)),
    st.integers(0, 6),
    st.one_of(
        st.binary(max_size=4),
        st.sampled_from(
            [b'"', b"\\", b'","', b',"sub":"admin"', b"0", b"-", b"1.0", b"e9", b" ", b"\n", b"{"]
        ),
    ),
)
def test_both_ways_read_a_damaged_payload_alike(place: int, length: int, new: bytes) -> None:
    """Nothing that the parser refuses, and no other claims, come of any change to the bytes."""
    raw = RAW[:place] + new + RAW[place + length :]
    short = usual_payload.read(raw)
    assert short is None or short == read_at_length(raw)


LEFT_TO_THE_PARSER = [
    RAW.replace(b'"sub":"somebody"', b'"sub":"somebody","sub":"admin"'),
    RAW.replace(b"}", b',"roles":["admin"]}'),
    RAW.replace(b"}", b',"cnf":{"jkt":"x"}}'),
    RAW.replace(b"{", b'{"nbf":9999999999,'),
    RAW.replace(b"{", b'{"exp":9999999999,'),
    RAW.replace(b"{", b'{"sub":"admin",'),
    RAW.replace(b"{", b'{"iss":"https://other.example",'),
    RAW.replace(b'"client_id":"app",', b""),
    RAW.replace(b'"sub":"somebody",', b""),
    RAW.replace(b'"sub_ver":0', b'"sub_ver":00'),
    RAW.replace(b'"sub_ver":0', b'"sub_ver":-0'),
    RAW.replace(b'"sub_ver":0', b'"sub_ver":9999999999999999'),
    RAW.replace(b'"sub_ver":0', '"sub_ver":٣'.encode()),
    RAW.replace(b'"pwd"', b'""'),
    RAW.replace(b'"somebody"', b'""'),
    RAW.replace(b'"somebody"', b'"some\\u0062ody"'),
    RAW.replace(b'"somebody"', b'"%b"' % (b"[" * 300)),
    RAW.replace(b"somebody", b"some\x00body"),
    RAW.replace(b"somebody", b"some\xffbody"),
    RAW.replace(b"somebody", b"some\xed\xa0\x80body"),
    RAW.replace(b'"app"', b'"a\xffp"'),
    RAW.replace(b"read write", b"read  write"),
    RAW.replace(b"read write", b"read write "),
    RAW + b"\n",
    RAW + b"x",
    b"x" + RAW,
    b"\xef\xbb\xbf" + RAW,
    b"",
]
"""Duplicates, further claims, missing ones, odd numbers, empty texts, controls and white space."""


@pytest.mark.parametrize("raw", LEFT_TO_THE_PARSER)
def test_what_is_written_otherwise_is_left_to_the_parser(raw: bytes) -> None:
    """So that there is one place that says what is wrong with it."""
    assert usual_payload.read(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        b" " + RAW,
        RAW.replace(b'"read write"', b'"read\\u0020write"'),
        RAW.replace(b'"iss":', b' "iss" : '),
        RAW.replace(b'"orders"', b'["orders","files"]'),
    ],
)
def test_what_tokens_share_may_be_written_in_any_way(raw: bytes) -> None:
    """It is parsed, once."""
    claims = usual_payload.read(raw)
    assert claims is not None
    assert claims == read_at_length(raw)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("payload.keys() & _ANY_OWN.keys()", "False"),
        ("None if claims.extra else claims", "claims"),
        ("strict_json.loads_object(members", "__import__('json').loads(members"),
        (r'[^"\\\[{{\x00-\x1f]++', r'[^"\[{{\x00-\x1f]++'),
        (r'[^"\\\[{{\x00-\x1f]++', r'[^"\\\[{{]++'),
        (r'[^"\\\[{{\x00-\x1f]++', r'[^"\\\x00-\x1f]++'),
        (r"{_NUMBER}}}\Z", r"{_NUMBER}}}"),
        ('"(0|[1-9][0-9]{0,14}+)"', '"([0-9]{1,15}+)"'),
        ('"(0|[1-9][0-9]{0,14}+)"', r'"(-?[0-9]{1,16}+)"'),
    ],
)
def test_a_rule_left_out_is_noticed(old: str, new: str, tmp_path: Path) -> None:
    """Without any one of them some payload is read otherwise than by the parser, or not by it."""
    with altered_tokens(tmp_path, [("usual_payload", old, new)]) as altered:
        assert any(_is_read(altered, raw) for raw in LEFT_TO_THE_PARSER)


def _is_read(package: ModuleType, raw: bytes) -> bool:
    """Whether it is taken, or fails in a way that a payload must not."""
    try:
        return package.usual_payload.read(raw) is not None
    except ValueError:
        return True
