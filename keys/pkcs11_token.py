"""Signing keys in a PKCS#11 token (an HSM, or SoftHSM): made there, used there, destroyed there.

A private key's CKA_ID is its `kid`, the octets of its thumbprint, so the ring's entry needs no
more than saying that the key lies in the token.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from .algorithms import RSA_GENERATED_BITS, PrivateKey, PublicKey, check_fit
from .errors import HsmUnavailable
from .jwk import b64url_decode, b64url_encode, public_members, thumbprint
from .pkcs11_key import private_key
from .pkcs11_library import library
from .ring import Key, KeyState

COOL_DOWN: Final = 1.0
"""Seconds for which a token that has just failed is not asked again."""

# DER of the curves' object identifiers: 1.2.840.10045.3.1.7 and 1.3.101.112.
_P256: Final = bytes.fromhex("06082a8648ce3d030107")
_ED25519: Final = bytes.fromhex("06032b6570")
_PSS: Final = (Mechanism.SHA256, pkcs11.MGF.SHA256, 32)
_SIGNING: Final[dict[str, tuple[Mechanism, Any]]] = {
    # Many tokens have no ECDSA that hashes: the digest is made here.
    "ES256": (Mechanism.ECDSA, None),
    "EdDSA": (Mechanism.EDDSA, None),
    "RS256": (Mechanism.SHA256_RSA_PKCS, None),
    "PS256": (Mechanism.SHA256_RSA_PKCS_PSS, _PSS),
}
_WORDS: Final[dict[type[Exception], str]] = {
    pkcs11.NoSuchToken: "there is no token of this label: is it connected?",
    pkcs11.PinLocked: "its PIN is locked: unlock it as its security officer",
    pkcs11.MechanismInvalid: "it does not know this algorithm",
}
_REFUSED: Final = "it refuses hsm_pin, which is not tried again until a restart or a reload"

T = TypeVar("T")


class _Missing(Exception):
    """The token holds no private key of this id."""


class Pkcs11Token:
    """Implements `KeyHolder` with one session. Threads and forks may share it.

    `module` is the vendor's library, `token` the token's label, `label` the CKA_LABEL of our keys.
    Every method raises HsmUnavailable where the token does not answer, and after that for
    `COOL_DOWN` seconds without asking; then the module is begun anew, so that a token that comes
    back is used again. A refused PIN is not tried twice: tokens lock themselves after a few.
    """

    def __init__(
        self,
        module: Path,
        token: str,
        pin: str,
        label: str = "gatepass",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token
        self._pin = pin
        self._label = label
        self._clock = clock
        self._library = library(module)
        self._session: pkcs11.Session | None = None
        self._epoch = 0
        self._keys: dict[str, Any] = {}
        self._failed: tuple[float, str] | None = None
        self._pin_refused = False

    def hold(self, kid: str, alg: str, public: PublicKey) -> PrivateKey:
        """See `KeyHolder.hold`."""
        return private_key(public, alg, lambda with_alg, data: self.sign(kid, with_alg, data))

    def generate(self, alg: str, now: int) -> Key:
        """Make a pending key whose private half never leaves the token."""
        public = self._use(lambda session: self._make(session, alg))
        kid = thumbprint(public_members(check_fit(alg, public)))
        private = self.hold(kid, alg, public)
        return Key(kid, alg, KeyState.PENDING, created=now, public=public, private=private)

    def sign(self, kid: str, alg: str, data: bytes) -> bytes:
        """The signature as JWS has it (RFC 7518 section 3.4: both halves, not DER)."""
        mechanism, parameter = _SIGNING[alg]
        octets = hashlib.sha256(data).digest() if mechanism is Mechanism.ECDSA else data

        def act(session: pkcs11.Session) -> bytes:
            key = self._find(session, kid)
            return bytes(key.sign(octets, mechanism=mechanism, mechanism_param=parameter))

        return self._use(act)

    def check(self, kid: str) -> None:
        """See `KeyHolder.check`."""
        self._use(lambda session: session.token.slot.get_token())
        self._use(lambda session: self._find(session, kid))

    def destroy(self, kid: str) -> None:
        """See `KeyHolder.destroy`."""

        def act(session: pkcs11.Session) -> None:
            self._keys.pop(kid, None)
            for found in list(session.get_objects({**self._ours(), Attribute.ID: _id(kid)})):
                found.destroy()

        self._use(act)

    def kids(self) -> set[str]:
        """The ids of all private keys of our label, whichever ring they belong to."""
        return self._use(
            lambda session: {
                b64url_encode(bytes(found[Attribute.ID]))
                for found in list(session.get_objects(self._ours()))
            }
        )

    # --- the token's objects -----------------------------------------------------------------

    def _ours(self) -> dict[Attribute, Any]:
        return {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: self._label}

    def _find(self, session: pkcs11.Session, kid: str) -> Any:
        key = self._keys.get(kid)
        if key is None:
            found = list(session.get_objects({**self._ours(), Attribute.ID: _id(kid)}))
            if not found:
                raise _Missing
            key = self._keys[kid] = found[0]
        return key

    def _make(self, session: pkcs11.Session, alg: str) -> PublicKey:
        options: dict[str, Any] = {
            "store": True,
            "label": self._label,
            # Until its thumbprint is known.
            "id": secrets.token_bytes(16),
            "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
            "private_template": {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        }
        if alg in {"RS256", "PS256"}:
            pair = session.generate_keypair(KeyType.RSA, RSA_GENERATED_BITS, **options)
        else:
            kind, curve = (KeyType.EC_EDWARDS, _ED25519) if alg == "EdDSA" else (KeyType.EC, _P256)
            domain = {Attribute.EC_PARAMS: curve}
            pair = session.create_domain_parameters(kind, domain, local=True).generate_keypair(
                **options
            )
        published, private = pair
        public = _read_public(published, alg)
        private[Attribute.ID] = _id(thumbprint(public_members(public)))
        published.destroy()  # the ring has it
        return public

    # --- the session -------------------------------------------------------------------------

    def _use(self, act: Callable[[pkcs11.Session], T]) -> T:
        with self._library.lock:
            self._check_patience()
            try:
                return self._attempt(act)
            except (pkcs11.PKCS11Error, _Missing) as error:
                self._failed = (self._clock(), self._told(error))
                raise HsmUnavailable(self._token, self._failed[1]) from None

    def _check_patience(self) -> None:
        if self._pin_refused:
            raise HsmUnavailable(self._token, _REFUSED)
        if self._failed is not None and self._clock() < self._failed[0] + COOL_DOWN:
            raise HsmUnavailable(self._token, self._failed[1])

    def _attempt(self, act: Callable[[pkcs11.Session], T]) -> T:
        used = self._session is not None
        if self._failed is not None:
            self._forget()
            self._failed = None
        try:
            return act(self._connected())
        except (pkcs11.PKCS11Error, _Missing):
            if not used or self._pin_refused:
                raise
            # The session may be older than the token's last restart: once more, from the start.
            self._forget()
            return act(self._connected())

    def _connected(self) -> pkcs11.Session:
        lib = self._library.ready()
        if self._session is None or self._epoch != self._library.epoch:
            self._keys.clear()
            self._session = self._open(lib.get_token(token_label=self._token))
            self._epoch = self._library.epoch
        return self._session

    def _open(self, token: pkcs11.Token) -> pkcs11.Session:
        try:
            return token.open(rw=True, user_pin=self._pin)
        except pkcs11.UserAlreadyLoggedIn:
            return token.open(rw=True)
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
            self._pin_refused = True
            raise

    def _forget(self) -> None:
        self._session = None
        self._keys.clear()
        self._library.restart()

    def _told(self, error: Exception) -> str:
        if self._pin_refused:
            return _REFUSED
        if isinstance(error, _Missing):
            return "it does not hold the signing key"
        return _WORDS.get(type(error), f"it answers {type(error).__name__}")


def _id(kid: str) -> bytes:
    return b64url_decode(kid)


def _read_public(found: Any, alg: str) -> PublicKey:
    if alg in {"RS256", "PS256"}:
        numbers = (found[Attribute.PUBLIC_EXPONENT], found[Attribute.MODULUS])
        return rsa.RSAPublicNumbers(*(int.from_bytes(each, "big") for each in numbers)).public_key()
    point = bytes(found[Attribute.EC_POINT])
    octets = 32 if alg == "EdDSA" else 65
    # DER's OCTET STRING around it, which some tokens leave out.
    raw = point[-octets:]
    if alg == "EdDSA":
        return ed25519.Ed25519PublicKey.from_public_bytes(raw)
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
