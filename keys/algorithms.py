"""Which algorithms keys may have, and what key material fits each (RFC 7518, RFC 8037)."""

from typing import Final, assert_never

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from .errors import InvalidKey

SIGNING_ALGORITHMS: Final = ("ES256", "EdDSA", "PS256", "RS256")
SEALING_ALGORITHM: Final = "A256GCM"

# 3072 bits is the 128-bit strength of P-256 and Ed25519 (NIST SP 800-57 part 1, table 2), so that
# a ring with an RSA key is no weaker than one without. 2048 is the least that RFC 7518
# sections 3.3 and 3.5 allow; it is accepted from others, never generated here.
RSA_GENERATED_BITS: Final = 3072
RSA_LEAST_BITS: Final = 2048
# Cost of a verification grows with the square of the modulus: a JWKS must not choose it freely.
RSA_MOST_BITS: Final = 8192
RSA_MOST_EXPONENT: Final = 2**32 - 1
RSA_EXPONENT: Final = 65537

SEALING_KEY_BYTES: Final = 32

_ED25519_FIELD: Final = 2**255 - 19
# What y is at points of order 1, 2, 4 and 8: under such a key one signature may be good for any
# message (RFC 8032 section 5.1.7 does not keep it from that), so it is nobody's.
_ORDER_8_Y: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y: Final = frozenset(
    {0, 1, _ED25519_FIELD - 1, _ORDER_8_Y, _ED25519_FIELD - _ORDER_8_Y}
)

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def new_private_key(alg: str) -> PrivateKey:
    """Make a private key for a signing algorithm.

    Raises ValueError for an algorithm outside `SIGNING_ALGORITHMS`.
    """
    if alg == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if alg == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if alg in {"PS256", "RS256"}:
        return rsa.generate_private_key(RSA_EXPONENT, RSA_GENERATED_BITS)
    raise ValueError(f"not a signing algorithm: {alg!r}")


def check_fit(alg: str, public: object) -> PublicKey:
    """Return the key if it may be used with `alg`; one key, one algorithm (RFC 8725 section 3.1).

    Raises InvalidKey.
    """
    if alg not in SIGNING_ALGORITHMS:
        raise InvalidKey("alg is not in the allow-list")
    if not isinstance(public, PublicKey):
        raise InvalidKey("key type is not supported")
    match public:
        case ec.EllipticCurvePublicKey():
            fits = alg == "ES256" and isinstance(public.curve, ec.SECP256R1)
        case ed25519.Ed25519PublicKey():
            fits = alg == "EdDSA"
            _check_order(public)
        case rsa.RSAPublicKey():
            fits = alg in {"PS256", "RS256"}
            if fits:
                check_rsa_size(public.key_size, public.public_numbers().e)
        case _:
            assert_never(public)
    if not fits:
        raise InvalidKey(f"key type does not fit {alg}")
    return public


def _check_order(public: ed25519.Ed25519PublicKey) -> None:
    y = int.from_bytes(public.public_bytes_raw(), "little") % 2**255
    # RFC 8032 section 5.1.3: decoding fails for a y that is no element of the field.
    if y >= _ED25519_FIELD or y in _SMALL_ORDER_Y:
        raise InvalidKey("no point of a large order")


def check_rsa_size(bits: int, exponent: int) -> None:
    """Hold an RSA key between too weak and too slow. Raises InvalidKey."""
    if bits < RSA_LEAST_BITS:
        raise InvalidKey(f"RSA modulus is shorter than {RSA_LEAST_BITS} bits")
    if bits > RSA_MOST_BITS:
        raise InvalidKey(f"RSA modulus is longer than {RSA_MOST_BITS} bits")
    if exponent < 3 or exponent % 2 == 0 or exponent > RSA_MOST_EXPONENT:
        raise InvalidKey("RSA exponent is out of range")
