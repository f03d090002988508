"""Our check of signatures against PyJWT's and joserfc's: one verdict, but where we mean to differ.

The rule is an equality, so that it fails in both directions: we accept exactly what both oracles
accept and what has no reason of ours against it. The reasons are written out a second time here,
from the documents and not from our code. The last tests break our code on purpose, to show that
the rule notices.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from harness import jose_oracle as oracle
from harness.differential import ES, Signer, explore, header_bytes, signer
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt as joserfc_jwt

from tokens import VerificationKey, base64url, compact, verifier
from tokens.errors import Malformed, TokenError

ALGORITHMS = ("ES256", "EdDSA", "PS256", "RS256")


# --- The rule for signatures


def our_payload(token: str, key: VerificationKey) -> bytes | str:
    """The payload, or the code of our refusal; anything but a `TokenError` is a failure."""
    try:
        return compact.verify_jws(token, key)
    except TokenError as refusal:
        return refusal.code


def canonical(segment: str) -> bool:
    try:
        return oracle.b64u(base64.urlsafe_b64decode(segment + "==")) == segment
    except ValueError:
        return False


def unique_members(raw: bytes) -> bool:
    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError("duplicate")
        return dict(pairs)

    try:
        json.loads(raw, object_pairs_hook=check)
    except ValueError:
        return False
    return True


def reason_against(token: str) -> str | None:
    """Why we refuse a compact JWS that a laxer library takes; None where we have no reason."""
    if len(token) > 8192:
        return "too_large"
    if not token.isascii() or not all(canonical(segment) for segment in token.split(".")):
        return "malformed"
    header = oracle.unb64u(token.partition(".")[0])
    if not unique_members(header) or not isinstance(json.loads(header), dict):
        return "malformed"
    steering = {"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "epk", "p2c"}
    if steering.intersection(json.loads(header)):
        return "header_refused"
    return None


def check_verdict(token: str, key: Signer) -> None:
    """We accept what both oracles accept and what nothing speaks against, and the same bytes."""
    ours = our_payload(token, key.ours)
    verdicts = {
        oracle.pyjwt_payload(token, key.private.public_key(), key.alg),
        oracle.joserfc_payload(token, key.joserfc, key.alg),
    }
    if None in verdicts or reason_against(token) is not None:
        assert isinstance(ours, str), f"accepted alone: {token}"
    else:
        assert {ours} == verdicts, f"refused alone, or another payload: {token}"


# --- Tokens: honest, signed oddly, and changed after signing

plain_members = st.fixed_dictionaries(
    {},
    optional={
        "typ": st.sampled_from(["at+jwt", "JWT", ""]),
        "kid": st.text(max_size=10),
        "cty": st.sampled_from(["JWT", "json"]),
    },
)
steering_members = st.sampled_from(
    [
        {"jku": "https://evil.example/jwks"},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"zip": "DEF"},
        {"b64": True},
        {"b64": False, "crit": ["b64"]},
        {"crit": ["exp"]},
        {"crit": []},
    ]
)
algorithm_names = st.sampled_from([*ALGORITHMS, "none", "HS256", "ES512", "es256", "", None, 1, []])
# Half of the tokens are plain, so that acceptance is compared as often as refusal.
oddities = st.sampled_from(["plain"] * 5 + ["steering", "algorithm", "duplicate", "header", "body"])


@st.composite
def signed_tokens(draw: st.DrawFn, key: Signer) -> str:
    """Tokens that the right key signed, over segments that may be odd in one way."""
    odd = draw(oddities)
    members: dict[str, Any] = {"alg": key.alg, **draw(plain_members)}
    if odd == "steering":
        members |= draw(steering_members)
    if odd == "algorithm":
        members["alg"] = draw(algorithm_names)
    header = json.dumps(members, ensure_ascii=draw(st.booleans())).encode()
    if odd == "duplicate":
        header = header[:-1] + b', "alg": "%b"}' % key.alg.encode()
    payload = draw(st.binary(max_size=60) | st.just(b'{"sub":"a"}'))
    segments = [oracle.b64u(header), oracle.b64u(payload)]
    if odd in {"header", "body"}:
        which = 0 if odd == "header" else 1
        segments[which] = draw(respellings(segments[which]))
    return key.sign(*segments)


def respellings(segment: str) -> st.SearchStrategy[str]:
    """Other spellings of the same bytes, and near misses."""
    padded = segment + "=" * (-len(segment) % 4)
    last = {"A": "B", "Q": "R", "g": "h", "w": "x"}.get(segment[-1:], segment[-1:])
    return st.sampled_from(
        [padded, segment + "=", segment[:-1] + last, segment + "\n", " " + segment, segment + "A"]
    )


def replaced(parts: list[str], which: int, content: bytes) -> str:
    return ".".join(oracle.b64u(content) if i == which else p for i, p in enumerate(parts))


@st.composite
def changed_tokens(draw: st.DrawFn, key: Signer) -> str:
    """Tokens that somebody has worked on without the key."""
    token = draw(signed_tokens(key))
    parts = token.split(".")
    data = ".".join(parts[:2]).encode()
    stranger = signer(key.alg, "stranger")
    zeros = bytes(len(oracle.unb64u(parts[2])))
    position = draw(st.integers(0, len(token) - 1))
    character = draw(st.sampled_from("AZaz09-_.=+/ \u00e9"))
    which = draw(st.integers(0, 2))
    kinds: dict[str, Callable[[], str]] = {
        "replaced": lambda: token[:position] + character + token[position + 1 :],
        "inserted": lambda: token[:position] + character + token[position:],
        "deleted": lambda: token[:position] + token[position + 1 :],
        "cut": lambda: token[:position],
        "emptied": lambda: ".".join("" if i == which else part for i, part in enumerate(parts)),
        "swapped": lambda: ".".join(parts[i] for i in draw(st.permutations([0, 1, 2]))),
        "fewer parts": lambda: ".".join(parts[:2]),
        "more parts": lambda: token + ".AAAA",
        "respelled": lambda: ".".join([*parts[:2], draw(respellings(parts[2]))]),
        "another's": lambda: stranger.sign(parts[0], parts[1]),
        "DER": lambda: replaced(parts, 2, signer("ES256").der(data)),
        "zeros": lambda: replaced(parts, 2, zeros),
        "another payload": lambda: replaced(parts, 1, draw(st.binary(max_size=9))),
        "another header": lambda: replaced(parts, 0, header_bytes(key.alg, x=1)),
        "another scheme": lambda: replaced(
            parts, 2, signer("RS256" if key.alg == "PS256" else "PS256").signature(data)
        ),
    }
    return kinds[draw(st.sampled_from(sorted(kinds)))]()


def hold_signatures(key: Signer, tokens: st.SearchStrategy[str], run: Any) -> None:
    run(given(tokens)(lambda token: check_verdict(token, key)))()


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_same_verdict_on_signed_tokens(alg: str) -> None:
    """On whatever the right key has signed, we and both oracles agree, less our stated reasons."""
    hold_signatures(signer(alg), signed_tokens(signer(alg)), explore(150))


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_same_verdict_on_changed_tokens(alg: str) -> None:
    """On tokens changed after signing, we and both oracles agree, less our stated reasons."""
    hold_signatures(signer(alg), changed_tokens(signer(alg)), explore(300))


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_oracles_tokens_are_ours(alg: str) -> None:
    """What PyJWT and joserfc sign, we verify."""
    key = signer(alg)
    token = jwt.encode({"sub": "a"}, key.private, algorithm=alg)
    assert json.loads(compact.verify_jws(token, key.ours)) == {"sub": "a"}
    private = type(key.joserfc)(key.private, key.private)
    with oracle.deprecated_algorithms():
        token = joserfc_jwt.encode({"alg": alg}, {"sub": "b"}, private, algorithms=[alg])
    assert json.loads(compact.verify_jws(token, key.ours)) == {"sub": "b"}


# --- Where we mean to be stricter: at least one oracle accepts, we refuse, and we say why

NOT_A_THIRD = ES + b" " * (1 + -len(ES) % 3)  # so long that its encoding could have padding


def with_padding(text: str) -> str:
    """Pad the last segment of `text` as base64 elsewhere is padded."""
    return text + "=" * (-len(text.rpartition(".")[2]) % 4)


STRICTER: dict[str, tuple[Callable[[Signer], str], str]] = {
    "padded header": (lambda k: k.sign(with_padding(oracle.b64u(NOT_A_THIRD)), b"{}"), "malformed"),
    "padded payload": (lambda k: k.sign(ES, "e30="), "malformed"),
    "padded signature": (lambda k: with_padding(k.sign(ES, b"{}")), "malformed"),
    "duplicate header member": (
        lambda k: k.sign(b'{"alg":"none","alg":"ES256","kid":"k"}', b"{}"),
        "malformed",
    ),
    "embedded key": (
        lambda k: k.sign(header_bytes("ES256", jwk={"kty": "oct", "k": "AA"}), b"{}"),
        "header_refused",
    ),
    "key by reference": (
        lambda k: k.sign(header_bytes("ES256", jku="https://evil.example"), b"{}"),
        "header_refused",
    ),
    "b64 true": (lambda k: k.sign(header_bytes("ES256", b64=True), b"{}"), "header_refused"),
    "beyond the cap": (lambda k: k.sign(ES, b"x" * 6200), "too_large"),
    "header beyond the cap": (
        lambda k: k.sign(header_bytes("ES256", cty="x" * 800), b"{}"),
        "too_large",
    ),
}


@pytest.mark.parametrize("name", sorted(STRICTER))
def test_stricter_on_form(name: str) -> None:
    """A token that another library verifies is refused for its form, by the code named here."""
    build, code = STRICTER[name]
    key = signer("ES256")
    token = build(key)
    assert our_payload(token, key.ours) == code
    accepted = [
        oracle.pyjwt_payload(token, key.private.public_key(), "ES256"),
        oracle.joserfc_payload(token, key.joserfc, "ES256"),
    ]
    assert accepted != [None, None], "no oracle accepts it, so that this is no difference"


# --- The rule notices


def _skip_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (compact, verifier):
        monkeypatch.setattr(module, "verify_signature", lambda *_segments: None)


def _lax_base64(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(text: bytes) -> bytes:
        try:
            return base64.urlsafe_b64decode(text + b"==")
        except ValueError:
            raise Malformed("not base64 at all") from None

    monkeypatch.setattr(base64url, "decode", decode)


def _believe_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "signing_algorithm", lambda header: "ES256")


def _follow_any_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "REFUSED_HEADERS", frozenset())


def _refuse_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "MAX_SIGNATURE", 0)


SIGNATURE_MUTANTS = [
    _skip_signature,
    _lax_base64,
    _believe_the_header,
    _follow_any_header,
    _refuse_everything,
]


@pytest.mark.parametrize("mutate", SIGNATURE_MUTANTS, ids=lambda mutate: mutate.__name__[1:])
def test_rule_notices_a_broken_verifier(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each deliberate fault in our verification of signatures breaks the rule."""
    key = signer("ES256")
    mutate(monkeypatch)
    tokens = signed_tokens(key) | changed_tokens(key)
    with pytest.raises(AssertionError):
        hold_signatures(key, tokens, explore(500, repeatable=True))


def test_signer_without_a_check_is_caught_on_a_plain_forgery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the signature check skipped, a forged token is accepted, and the rule says so."""
    key = signer("ES256")
    header, payload, _ = key.sign(ES, b'{"sub":"alice"}').split(".")
    forged = f"{header}.{payload}.{oracle.b64u(bytes(64))}"
    check_verdict(forged, key)
    _skip_signature(monkeypatch)
    with pytest.raises(AssertionError, match="accepted alone"):
        check_verdict(forged, key)
