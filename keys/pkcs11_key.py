"""Private keys of `cryptography`'s kinds that sign in a PKCS#11 token."""

from collections.abc import Callable
from typing import Any, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from .algorithms import PrivateKey, PublicKey
from .held import Held

Sign = Callable[[str, bytes], bytes]
"""Signs octets with an algorithm (RFC 7518): the signature as JWS has it. Raises KeyRingError."""

_HALF: int = 32


def private_key(public: PublicKey, alg: str, sign: Sign) -> PrivateKey:
    """The private key of a public one; `alg` is the only algorithm that it signs with."""
    match public:
        case ec.EllipticCurvePublicKey():
            return HeldEcKey(public, alg, sign)
        case ed25519.Ed25519PublicKey():
            return HeldEd25519Key(public, alg, sign)
        case _:
            return HeldRsaKey(public, alg, sign)


class _HeldKey(Held):
    """What the three kinds share: the public half, and that nothing of the private one leaves."""

    def __init__(self, public: Any, alg: str, sign: Sign) -> None:
        self._public = public
        self._alg = alg
        self._sign = sign

    def public_key(self) -> Any:
        return self._public

    def _stays(self, *_: object, **__: object) -> NoReturn:
        raise ValueError("the private half stays in its token")

    def _signature(self, data: Any, algorithm: object = None) -> bytes:
        if algorithm is not None and not isinstance(algorithm, hashes.SHA256):
            raise ValueError(f"a key for {self._alg} signs with SHA-256 alone")
        return self._sign(self._alg, bytes(data))

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _memo: object) -> Any:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key in a token cannot be pickled")


class HeldEcKey(_HeldKey, ec.EllipticCurvePrivateKey):
    """P-256."""

    private_bytes = private_numbers = exchange = _HeldKey._stays

    @property
    def curve(self) -> ec.EllipticCurve:
        curve: ec.EllipticCurve = self._public.curve
        return curve

    @property
    def key_size(self) -> int:
        return self.curve.key_size

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """The signature in DER, as `cryptography` gives it."""
        raw = self._signature(data, signature_algorithm.algorithm)
        halves = (int.from_bytes(half, "big") for half in (raw[:_HALF], raw[_HALF:]))
        return encode_dss_signature(*halves)


class HeldEd25519Key(_HeldKey, ed25519.Ed25519PrivateKey):
    """Ed25519."""

    private_bytes = private_bytes_raw = _HeldKey._stays

    def sign(self, data: Any) -> bytes:
        return self._signature(data)


class HeldRsaKey(_HeldKey, rsa.RSAPrivateKey):
    """RSA, with the one padding of its algorithm."""

    private_bytes = private_numbers = decrypt = _HeldKey._stays

    @property
    def key_size(self) -> int:
        bits: int = self._public.key_size
        return bits

    def sign(self, data: Any, padding_: object, algorithm: object) -> bytes:
        kind = padding.PSS if self._alg == "PS256" else padding.PKCS1v15
        if not isinstance(padding_, kind):
            raise TypeError(f"a key for {self._alg} signs with its own padding alone")
        return self._signature(data, algorithm)
