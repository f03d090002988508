"""Our verification against PyJWT's and joserfc's: the same verdict, but where we mean to differ.

The rule is an equality, so that it fails in both directions: we accept exactly what both oracles
accept and what has no reason of ours against it. The reasons are written out a second time here,
from the documents and not from our code. The last tests break our code on purpose, to show that
the rule notices.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from freezegun import freeze_time
from harness import jose_oracle as oracle
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tokens import base64url, compact, verifier
from tokens.errors import Expired, Malformed, TokenError

ALGORITHMS = ("ES256", "EdDSA", "PS256", "RS256")
SHA256 = hashes.SHA256()
NOW = 1_750_000_000
FROZEN = "2025-06-15T15:06:40Z"  # the same instant, for PyJWT, which asks the machine
LEEWAY = 5
MAX_LIFETIME = 300
ISSUER, AUDIENCE = "https://issuer.example", "https://api.example"
ID = "AAAAAAAAAAAAAAAAAAAAAA"


@dataclass(frozen=True, slots=True)
class Signer:
    """One key pair, as each of the three libraries wants it."""

    alg: str
    private: Any
    ours: compact.VerificationKey
    joserfc: Any

    def signature(self, data: bytes) -> bytes:
        return oracle.raw_signature(self.alg, self.private, data)

    def der(self, data: bytes) -> bytes:
        return bytes(self.private.sign(data, ec.ECDSA(SHA256)))

    def sign(self, header: bytes | str, payload: bytes | str) -> str:
        """A token over these segments, text taken as it is, whether or not it is canonical."""
        parts = (header, payload)
        data = ".".join(part if isinstance(part, str) else oracle.b64u(part) for part in parts)
        return f"{data}.{oracle.b64u(self.signature(data.encode()))}"


@cache
def rsa_private(owner: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def signer(alg: str, owner: str = "issuer") -> Signer:
    """The key of `owner`; PS256 and RS256 share theirs, so that they differ by scheme alone."""
    private: Any
    if alg == "ES256":
        private = ec.generate_private_key(ec.SECP256R1())
        joserfc = ECKey(private.public_key(), private.public_key())
    elif alg == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
        joserfc = OKPKey(private.public_key(), private.public_key())
    else:
        private = rsa_private(owner)
        joserfc = RSAKey(private.public_key(), private.public_key())
    key = compact.VerificationKey.of("k", alg, private.public_key())
    return Signer(alg, private, key, joserfc)


def header_bytes(alg: str, **members: Any) -> bytes:
    return json.dumps({"alg": alg, "typ": "at+jwt", "kid": "k", **members}).encode()


# --- The rule for signatures


def our_payload(token: str, key: compact.VerificationKey) -> bytes | str:
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


def explore(examples: int, *, repeatable: bool = False) -> Callable[[Any], Any]:
    """Settings for a property; `repeatable` ones fail on the first example and do not shrink."""
    if repeatable:
        return settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            report_multiple_bugs=False,
            phases=[Phase.generate],
        )
    return settings(max_examples=examples, deadline=None)


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

ES = header_bytes("ES256")


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


# --- The rule for claims


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to good claims, and the code that we owe for it (None: nothing is wrong)."""

    name: str
    code: str | None
    members: dict[str, Any] = field(default_factory=dict)
    dropped: str | None = None


REQUIRED = (
    "iss", "sub", "aud", "client_id", "iat", "exp", "jti", "sid", "auth_time", "sub_ver", "amr",
    "scope",
)  # fmt: skip


def good_claims() -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "client_id": "demo",
        "iat": NOW - 10,
        "exp": NOW + 100,
        "jti": ID,
        "sid": ID,
        "auth_time": NOW - 20,
        "sub_ver": 1,
        "amr": ["pwd"],
        "scope": "read write",
    }


def lived(exp: int) -> dict[str, int]:
    """A token of 60 seconds that ends at `exp`, so that only its end is at the boundary."""
    return {"exp": exp, "iat": exp - 60, "auth_time": exp - 60}


# Both libraries refuse these too.
COMMON = [
    Change("nothing", None),
    Change("audience in a list", None, {"aud": ["https://other.example", AUDIENCE]}),
    Change("further claims", None, {"roles": ["admin"], "tenant": {"id": 7}}),
    Change("valid from now", None, {"nbf": NOW}),
    Change("a second before exp", None, lived(NOW - LEEWAY + 1)),
    Change("at exp", "expired", lived(NOW - LEEWAY)),
    Change("a second after exp", "expired", lived(NOW - LEEWAY - 1)),
    Change("issued at the leeway", None, {"iat": NOW + LEEWAY}),
    Change("issued beyond the leeway", "not_yet_valid", {"iat": NOW + LEEWAY + 1}),
    Change("nbf at the leeway", None, {"nbf": NOW + LEEWAY}),
    Change("nbf beyond the leeway", "not_yet_valid", {"nbf": NOW + LEEWAY + 1}),
    Change("another issuer", "wrong_issuer", {"iss": "https://evil.example"}),
    Change("another audience", "wrong_audience", {"aud": "https://other.example"}),
    Change("other audiences", "wrong_audience", {"aud": [ISSUER, "https://other.example"]}),
    Change("audience a prefix", "wrong_audience", {"aud": AUDIENCE + "/x"}),
    Change("subject a number", "invalid_claim", {"sub": 7}),
    Change("jti a number", "invalid_claim", {"jti": 7}),
    Change("exp a word", "invalid_claim", {"exp": "soon"}),
    Change("exp a list", "invalid_claim", {"exp": [NOW + 100]}),
    Change("issuer a list", "invalid_claim", {"iss": [ISSUER]}),
    Change("no audience", "invalid_claim", {"aud": []}),
    *(Change(f"without {name}", "missing_claim", dropped=name) for name in REQUIRED),
]
# At least one library accepts these, with every claim named as required.
OURS_ALONE = [
    Change("exp a fraction", "invalid_claim", {"exp": NOW + 100.5}),
    Change("exp a whole float", "invalid_claim", {"exp": NOW + 100.0}),
    Change("exp digits", "invalid_claim", {"exp": str(NOW + 100)}),
    Change("iat a fraction", "invalid_claim", {"iat": NOW - 10.5}),
    Change("iat true", "invalid_claim", {"iat": True}),
    Change("iat negative", "invalid_claim", {"iat": -1}),
    Change("nbf a fraction", "invalid_claim", {"nbf": NOW - 1.5}),
    Change("exp in another era", "invalid_claim", {"exp": 1 << 60}),
    Change("auth_time a fraction", "invalid_claim", {"auth_time": NOW - 20.5}),
    Change("auth_time in the future", "invalid_claim", {"auth_time": NOW + LEEWAY + 1}),
    Change("a lifetime too long", "lifetime_too_long", {"exp": NOW - 10 + MAX_LIFETIME + 1}),
    Change("jti of 127 bits", "invalid_claim", {"jti": ID[:-1]}),
    Change("jti with unused bits", "invalid_claim", {"jti": ID[:-1] + "B"}),
    Change("sid of another form", "invalid_claim", {"sid": "session"}),
    Change("sub_ver a word", "invalid_claim", {"sub_ver": "1"}),
    Change("amr a word", "invalid_claim", {"amr": "pwd"}),
    Change("scope a list", "invalid_claim", {"scope": ["read"]}),
    Change("scope with two spaces", "invalid_claim", {"scope": "read  write"}),
    Change("client a number", "invalid_claim", {"client_id": 7}),
    Change("roles a word", "invalid_claim", {"roles": "admin"}),
    Change("acr a list", "invalid_claim", {"acr": ["aal2"]}),
]  # fmt: skip
CHANGES = {change.name: change for change in [*COMMON, *OURS_ALONE]}


def changed(*changes: Change) -> dict[str, Any]:
    claims = good_claims()
    for change in changes:
        claims.update(change.members)
    for change in changes:
        claims.pop(change.dropped, None)
    return claims


def our_verdict(token: str) -> str | None:
    """The code of our refusal, None where we accept."""
    access = verifier.AccessVerifier(
        issuer=ISSUER,
        audience=AUDIENCE,
        find_key=lambda _kid: signer("ES256").ours,
        leeway=LEEWAY,
        max_lifetime=MAX_LIFETIME,
        clock=lambda: NOW,
    )
    try:
        access.verify(token)
    except TokenError as refusal:
        return refusal.code
    return None


def pyjwt_accepts(token: str) -> bool:
    """By PyJWT with every claim required that we require. Its clock is the machine's: freeze it."""
    try:
        jwt.decode(
            token,
            signer("ES256").private.public_key(),
            algorithms=["ES256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY,
            options={"require": list(REQUIRED)},
        )
    except oracle.REFUSALS:
        return False
    return True


def joserfc_accepts(token: str) -> bool:
    """By joserfc with every claim required that we require."""
    required: dict[str, Any] = {name: {"essential": True} for name in REQUIRED}
    required["iss"]["value"], required["aud"]["value"] = ISSUER, AUDIENCE
    required["scope"]["allow_blank"] = required["amr"]["allow_blank"] = True
    registry = joserfc_jwt.JWTClaimsRegistry(now=NOW, leeway=LEEWAY, **required)
    try:
        decoded = joserfc_jwt.decode(token, signer("ES256").joserfc, algorithms=["ES256"])
        registry.validate(decoded.claims)
    except oracle.REFUSALS:
        return False
    return True


def check_claims_verdict(changes: list[Change]) -> None:
    """We accept what both oracles accept and what no change of ours has spoilt."""
    token = signer("ES256").sign(ES, json.dumps(changed(*changes)).encode())
    spoilt = any(change.code for change in changes if change in OURS_ALONE)
    accepted = pyjwt_accepts(token) and joserfc_accepts(token)
    assert (our_verdict(token) is None) == (accepted and not spoilt), f"{changes}"


@pytest.mark.parametrize("change", COMMON, ids=lambda change: change.name)
def test_same_verdict_on_one_change(change: Change) -> None:
    """On each of these claims, at each boundary, we and both oracles agree, and we say why."""
    token = signer("ES256").sign(ES, json.dumps(changed(change)).encode())
    with freeze_time(FROZEN):
        verdicts = [pyjwt_accepts(token), joserfc_accepts(token)]
    assert our_verdict(token) == change.code
    assert verdicts == [change.code is None] * 2


@pytest.mark.parametrize("change", OURS_ALONE, ids=lambda change: change.name)
def test_stricter_on_claims(change: Change) -> None:
    """These claims pass another library, and we refuse them by the code named here."""
    token = signer("ES256").sign(ES, json.dumps(changed(change)).encode())
    with freeze_time(FROZEN):
        assert pyjwt_accepts(token) or joserfc_accepts(token), "this is no difference"
    assert our_verdict(token) == change.code


def test_stricter_on_duplicate_claims() -> None:
    """A claim given twice passes other libraries with its last value, and is malformed to us."""
    payload = '{"sub":"mallory",' + json.dumps(good_claims())[1:]
    token = signer("ES256").sign(ES, payload.encode())
    with freeze_time(FROZEN):
        assert pyjwt_accepts(token)
        assert joserfc_accepts(token)
    assert our_verdict(token) == "malformed"


def hold_claims(run: Any) -> None:
    names = st.lists(st.sampled_from(sorted(CHANGES)), max_size=3, unique=True)
    combinations = names.map(lambda chosen: _compatible([CHANGES[name] for name in chosen]))
    # Hypothesis times its own work by the real clock.
    with freeze_time(FROZEN, ignore=["hypothesis"]):
        run(given(combinations)(check_claims_verdict))()


def _compatible(changes: list[Change]) -> list[Change]:
    """Drop a change that another one has overwritten, since then it no longer spoils anything."""
    kept: list[Change] = []
    touched: set[str] = set()
    for change in changes:
        names = {*change.members, *([change.dropped] if change.dropped else [])}
        # A lifetime is judged by two claims together.
        names |= {"exp", "iat", "auth_time"} if names & {"exp", "iat", "auth_time"} else set()
        if not names & touched:
            kept.append(change)
            touched |= names
    return kept


def test_same_verdict_on_several_changes() -> None:
    """On several changes at once, we and both oracles agree, less our stated reasons."""
    hold_claims(explore(300))


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


def _accept_at_exp(monkeypatch: pytest.MonkeyPatch) -> None:
    original = verifier.AccessVerifier.check_claims

    def check(self: Any, claims: Any) -> None:
        try:
            original(self, claims)
        except Expired:
            if claims.exp + LEEWAY != NOW:
                raise

    monkeypatch.setattr(verifier.AccessVerifier, "check_claims", check)


def _check_no_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifier.AccessVerifier, "check_claims", lambda self, claims: None)


@pytest.mark.parametrize(
    "mutate", [_accept_at_exp, _check_no_claims], ids=lambda mutate: mutate.__name__[1:]
)
def test_rule_notices_unchecked_claims(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each deliberate fault in our checking of claims breaks the rule."""
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        hold_claims(explore(500, repeatable=True))


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
