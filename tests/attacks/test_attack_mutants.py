"""The table notices each rule of `tokens` that is taken out."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from harness.altered_tokens import Alteration, altered_tokens
from harness.attack_material import AUDIENCE, Material
from harness.attack_table import Place
from harness.attacks_all import ATTACKS

from tokens.compact import REFUSED_HEADERS

NEVER = "if False:"
BASE64 = (
    "base64url",
    """    if padding is None:
        raise Malformed("base64url of an impossible length")""",
    """    if padding is None or text.strip() != text or b"=" in text:
        import base64
        return base64.urlsafe_b64decode(text.strip() + b"==")""",
)
STRICT = ("base64url", "strict_mode=True", "strict_mode=False")
JUNK = ("base64url", 'b"+/!!!"', 'b"+/+/="')
SEALED_MEMBERS = ("jku", "x5u", "x5c")
"""And `jwk`; `zip`, `crit` and the rest joserfc refuses once more."""


def check_in(module: str, condition: str) -> tuple[Alteration, ...]:
    """A check that is never made."""
    return ((module, f"if {condition}:", NEVER),)


MUTANTS: dict[str, tuple[Alteration, ...]] = {
    "padding is stripped": (BASE64,),
    "other alphabets are read": (JUNK,),
    "unused bits are free": check_in("base64url", "last is not None and text[-1] not in last"),
    "the signature is not looked at": (
        (
            "compact",
            "key.verify(base64url.decode(signature), signed)",
            "pass",
        ),
    ),
    "the header's algorithm is believed": (
        ("verifier", "if header.alg != key.alg:", NEVER),
        ("compact", "if not isinstance(alg, str) or alg not in SIGNING_ALGORITHMS:", NEVER),
    ),
    "an algorithm need not be the key's": check_in("verifier", "header.alg != key.alg"),
    "PSS has any salt": (("verification_key", "padding.PSS.DIGEST_LENGTH", "padding.PSS.AUTO"),),
    **{
        f"{alg} may be of any length": (
            ("verification_key", f'raise BadSignature("an {alg} signature is 64 bytes")', "pass"),
        )
        for alg in ("ES256", "EdDSA")
    },
    "the answer about ES256 is not looked at": check_in(
        "verification_key", "not verifies(sha256(data).digest(), _der(signature))"
    ),
    **{
        f"{error} is not looked at": (
            (
                "verification_key",
                f"except {error}:\n            return False",
                f"except {error}:\n            return True",
            ),
        )
        for error in ("BadSignatureError", "InvalidSignature")
    },
    "any type passes": check_in(
        "verifier", "not isinstance(typ, str) or typ.lower() not in _ACCESS_TYPES"
    ),
    "a type has spaces around it": (("verifier", "typ.lower() not in", "typ.strip() not in"),),
    "a kid is whatever it is": check_in("verifier", "not isinstance(kid, str) or not kid"),
    **{
        f"{name} is overlooked": (("compact", f'"{name}"', '"_"'),)
        for name in sorted(REFUSED_HEADERS)
    },
    "members may stand twice": check_in("strict_json", "len(members) != len(pairs)"),
    "NaN is a number": (
        ("strict_json", 'raise Malformed(f"{name} is not JSON")', "return float(name)"),
    ),
    "1e400 is a number": check_in("strict_json", "value in _INFINITIES"),
    "nesting is not counted": check_in(
        "strict_json", 'raw.count(b"{") + raw.count(b"[") > MAX_BRACKETS'
    ),
    "half a surrogate pair is text": check_in("strict_json", '"\\\\u" in text'),
    "a list is an object": check_in("strict_json", "type(value) is not dict"),
    "bytes are text": (("strict_json", 'raw.decode("utf-8")', 'raw.decode("utf-8", "replace")'),),
    "a token has no largest size": check_in("compact", "len(token) > MAX_TOKEN"),
    "a header has no largest size": check_in("compact", "len(segment) > MAX_HEADER"),
    "what is behind three parts is not looked at": (
        ("compact", 'if token.count(b".") != 2:', NEVER),
        (
            "compact",
            'signed, _, signature = token.rpartition(b".")',
            'a, b, signature, *_ = token.split(b"."); signed = b"%b.%b" % (a, b)',
        ),
    ),
    "any issuer passes": check_in("verifier", "claims.iss != self._issuer"),
    "an issuer may have more behind it": (
        ("verifier", "claims.iss != self._issuer", "not claims.iss.startswith(self._issuer)"),
    ),
    "any audience passes": check_in(
        "verifier", "self._audiences is not None and self._audiences.isdisjoint(claims.aud)"
    ),
    "a token never expires": check_in("verifier", "now >= claims.exp + self._leeway"),
    "a token lives at its end": (("verifier", "now >= claims.exp", "now > claims.exp"),),
    "a token may come from the future": check_in("verifier", "claims.iat > latest_start"),
    "a login may come from the future": check_in("verifier", "claims.auth_time > latest_start"),
    "a lifetime has no maximum": check_in(
        "verifier", "not 0 < claims.exp - claims.iat <= self._max_lifetime"
    ),
    "a lifetime may be a second longer": (
        ("verifier", "<= self._max_lifetime", "<= self._max_lifetime + 1"),
    ),
    "nbf is not looked at": check_in("verifier", '"nbf" in claims.extra'),
    "nbf may be anything": check_in("verifier", "type(nbf) is not int"),
    "nbf may lie ahead": check_in("verifier", "nbf > latest_start"),
    "true is a number": (
        ("claims", "if type(value) is not int or", "if not isinstance(value, int) or"),
    ),
    "a number has no range": (("claims", " or not 0 <= value <= _MAX_TIME", ""),),
    "a text may be empty": (
        ("claims", "if type(value) is not str or not value:", "if type(value) is not str:"),
    ),
    "an id may be any text": (("claims", " or _ID.match(value) is None", ""),),
    "an id may have a line break behind it": (("claims", 'rf"{ID_FORM}\\Z"', 'rf"{ID_FORM}$"'),),
    "a scope may be any text": (("claims", " or _SCOPE.match(value) is None", ""),),
    "a sealed token need not say what it holds": check_in(
        "sealing", 'opened.header.get("cty") != "JWT"'
    ),
    "a recipient's algorithm is free": check_in("sealing", 'header["alg"] != recipient.alg'),
    **{
        f"{name} of a sealed token is overlooked": (("sealing", f'"{name}"', '"_"'),)
        for name in SEALED_MEMBERS
    },
    "jwk of a sealed token is overlooked": (("sealing", '"jwk", "p2c"', '"p2c"'),),
    "a refresh token may be of any type": check_in(
        "sealing", 'opened.header.get("typ") != REFRESH_TYPE'
    ),
    "a refresh token may be of any issuer": check_in("sealing", "claims.iss != self._issuer"),
    "a refresh token never expires": check_in("sealing", "now >= claims.exp"),
    "a refresh token lives at its end": (("sealing", "now >= claims.exp", "now > claims.exp"),),
    "a refresh token may be of a newer format": check_in("claims", "version > REFRESH_FORMAT"),
}


@pytest.fixture(scope="module")
def made(material: Material) -> dict[str, str]:
    """Every attack's token."""
    return {name: attack.make(material) for name, attack in ATTACKS.items()}


def noticed_by(package: ModuleType, m: Material, made: dict[str, str]) -> str | None:
    """The first attack that a copy takes, or at which it fails otherwise than by refusing."""
    recipients = {
        jwk["kid"]: package.Recipient.from_jwk(jwk)
        for jwk in (recipient.key.as_dict(private=True) | {"kid": kid, "alg": recipient.alg}
                    for kid, recipient in m.recipients.items())
    }  # fmt: skip
    keys = {
        kid: package.VerificationKey.of(kid, key.alg, key.public)
        for kid, key in m.ring.verification_keys().items()
    }

    def find_key(kid: str) -> object:
        if kid not in keys:
            raise package.UnknownKid(kid)
        return keys[kid]

    verifier = package.AccessVerifier(
        issuer=m.issuer,
        audience=AUDIENCE,
        find_key=find_key,
        recipients=recipients,
        clock=lambda: m.now,
    )
    sealer = package.RefreshSealer(m.issuer, lambda: m.ring)

    def opened(token: str) -> object:
        return sealer.open(token, m.now)

    # A copy that refused everything would show nothing.
    verifier.verify(m.token())
    verifier.verify(m.sealed())
    opened(m.refresh())
    for name, token in made.items():
        for place, ask in ((Place.VERIFIER, verifier.verify), (Place.REFRESH, opened)):
            if place not in ATTACKS[name].at:
                continue
            try:
                ask(token)
            except package.TokenError:
                continue
            except Exception as error:
                return f"{name}: {error!r}"
            return name
    return None


def test_a_copy_without_an_alteration_is_as_good(
    material: Material, made: dict[str, str], tmp_path: Path
) -> None:
    """What is noticed below is the alteration."""
    with altered_tokens(tmp_path, ()) as package:
        assert noticed_by(package, material, made) is None


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_missing_rule_is_noticed(
    material: Material, made: dict[str, str], tmp_path: Path, mutant: str
) -> None:
    """With one rule taken out, some attack passes."""
    with altered_tokens(tmp_path, MUTANTS[mutant]) as package:
        assert noticed_by(package, material, made) is not None
