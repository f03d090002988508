"""The ring's file: nobody reads a key in it without the secret, and nobody changes it unnoticed."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from harness.key_directory import NOW, PASSPHRASE, POLICY, SECRET, b64, ring_file, rotating
from joserfc import jwe
from joserfc.jwk import OctKey

from keys import SEALING_ALGORITHM, DirectoryStore, KeyRing, KeyStoreError, UnreadableRing, generate

# --- encryption ----------------------------------------------------------------------------------


def private_spellings(ring: KeyRing) -> list[bytes]:
    """Every private half of the ring, as anyone might have written it."""
    raws: list[bytes] = []
    for key in ring.keys:
        if isinstance(key.private, bytes):
            raws.append(key.private)
        elif isinstance(key.private, ec.EllipticCurvePrivateKey):
            raws.append(key.private.private_numbers().private_value.to_bytes(32, "big"))
        elif isinstance(key.private, ed25519.Ed25519PrivateKey):
            raws.append(key.private.private_bytes_raw())
        if isinstance(key.private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            der = key.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            raws.append(der)
    return [
        text for raw in raws for text in (raw, b64(raw), base64.b64encode(raw), raw.hex().encode())
    ]


@pytest.mark.parametrize("secret", [SECRET, PASSPHRASE])
def test_the_disk_holds_no_private_material(directory: Path, secret: bytes | str) -> None:
    """No file of the store holds a private half, a kid or the secret in any usual spelling."""
    ring = DirectoryStore(directory, secret).update(rotating())
    kept = b"".join(path.read_bytes() for path in directory.iterdir())
    plain = secret if isinstance(secret, bytes) else secret.encode()
    spellings = [*private_spellings(ring), plain, b64(plain), *(k.kid.encode() for k in ring.keys)]
    assert len(spellings) > 20
    for segment in [kept, *(base64.urlsafe_b64decode(s + b"===") for s in kept.split(b"."))]:
        assert not [spelling for spelling in spellings if spelling in segment]


def test_the_plain_file_would_have_been_noticed(directory: Path) -> None:
    """The search above does find private halves where there is no encryption."""
    ring = DirectoryStore(directory, None, development=True).update(rotating())
    kept = ring_file(directory).read_bytes()
    assert [spelling for spelling in private_spellings(ring) if spelling in kept]


def test_the_file_is_a_standard_jwe(store: DirectoryStore, directory: Path) -> None:
    """A key of 32 bytes is used directly with A256GCM (RFC 7518 sections 4.5 and 5.3)."""
    opened = jwe.decrypt_compact(
        ring_file(directory).read_bytes(), OctKey.import_key(SECRET), ["dir", "A256GCM"]
    )
    assert opened.protected == {"alg": "dir", "enc": "A256GCM", "cty": "gatepass-keyring+json"}
    assert opened.plaintext is not None
    assert len(json.loads(opened.plaintext)["keys"]) == 3


def test_a_passphrase_goes_through_pbkdf2(directory: Path) -> None:
    """The header shows OWASP's count and a fresh salt of 16 octets for each write."""
    store = DirectoryStore(directory, PASSPHRASE)
    salts = set()
    for now in (NOW, NOW + POLICY.signing_period):
        store.update(rotating(now))
        head = ring_file(directory).read_bytes().split(b".")[0]
        header = json.loads(base64.urlsafe_b64decode(head + b"=="))
        assert (header["alg"], header["p2c"]) == ("PBES2-HS512+A256KW", 210_000)
        assert len(base64.urlsafe_b64decode(header["p2s"] + "==")) == 16
        salts.add(header["p2s"])
    assert len(salts) == 2


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (SECRET, bytes(32)),
        (PASSPHRASE, PASSPHRASE + "!"),
        (SECRET, PASSPHRASE),
        (PASSPHRASE, SECRET),
    ],
)
def test_a_wrong_secret_is_said_plainly_and_not_shown(
    directory: Path, right: bytes | str, wrong: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the file and the mend; neither secret is in it, its chain or the log."""
    DirectoryStore(directory, right).update(rotating())
    before = ring_file(directory).read_bytes()
    store = DirectoryStore(directory, wrong)
    for act in (store.load, lambda: store.update(rotating())):
        with pytest.raises(UnreadableRing, match="does not open with this secret") as refused:
            act()
        assert str(ring_file(directory)) in str(refused.value)
        error: BaseException | None = refused.value
        assert error is not None
        assert error.__cause__ is None
        assert error.__suppress_context__
        for secret in (right, wrong):
            shown = f"{error!s} {error!r} {error.__dict__} {store!r} {caplog.text}"
            assert str(secret) not in shown
            assert repr(secret) not in shown
    assert ring_file(directory).read_bytes() == before


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (b"short", "has 5 bytes and must have 32"),
        (bytes(33), "has 33 bytes and must have 32"),
        ("hunter2", "needs 15 characters"),
        ("", "needs 15 characters"),
        (b"", "must have 32"),
        ("lone surrogate \ud800 here", "not valid UTF-8"),
        (None, "in the clear"),
    ],
)
def test_an_unfit_secret_is_refused_and_not_shown(
    directory: Path, secret: bytes | str | None, message: str
) -> None:
    """A secret too short, too long, broken or missing is refused before anything is written."""
    with pytest.raises(KeyStoreError, match=message) as refused:
        DirectoryStore(directory, secret)
    assert refused.value.__cause__ is None
    for shown in (b"short", "hunter2", "surrogate"):
        assert not secret or str(shown) not in str(refused.value)
    assert not directory.exists()


def test_plain_keys_need_development_and_warn(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a secret the store works in development only, and says so in the log."""
    with caplog.at_level(logging.WARNING, logger="gatepass.keys"):
        ring = DirectoryStore(directory, None, development=True).update(rotating())
    assert "in the clear" in caplog.text
    assert DirectoryStore(directory, None, development=True).load() == ring


def test_development_with_a_secret_still_encrypts(directory: Path) -> None:
    """The development flag permits plain keys; it does not ask for them."""
    DirectoryStore(directory, SECRET, development=True).update(rotating())
    assert not ring_file(directory).read_bytes().startswith(b"{")
    DirectoryStore(directory, SECRET).load()


def test_a_plain_ring_is_refused_where_a_secret_is_set(directory: Path) -> None:
    """Whoever can write the file cannot put his own unencrypted keys in place of ours."""
    DirectoryStore(directory, None, development=True).update(rotating())
    with pytest.raises(UnreadableRing, match="not encrypted but a secret is set"):
        DirectoryStore(directory, SECRET, development=True).load()


def test_an_encrypted_ring_is_not_taken_for_an_empty_one(
    store: DirectoryStore, directory: Path
) -> None:
    """Without its secret an encrypted ring is an error that asks for the secret."""
    with pytest.raises(UnreadableRing, match="the ring is encrypted"):
        DirectoryStore(directory, None, development=True).load()


# --- changed files -------------------------------------------------------------------------------


def test_a_changed_file_is_refused_at_any_place(store: DirectoryStore, directory: Path) -> None:
    """A change of one character anywhere in the file is noticed."""
    good = ring_file(directory).read_bytes()
    places = {*range(0, len(good), 37), *range(len(good) - 30, len(good))}
    places |= {at + off for at, byte in enumerate(good) if byte == ord(".") for off in (-1, 0, 1)}
    for at in sorted(places):
        for other in b"AQ_":
            if good[at] == other:
                continue
            ring_file(directory).write_bytes(good[:at] + bytes([other]) + good[at + 1 :])
            with pytest.raises(UnreadableRing):
                DirectoryStore(directory, SECRET).load()
    ring_file(directory).write_bytes(good)
    assert DirectoryStore(directory, SECRET).load() == store.load()


def test_a_changed_file_is_refused_after_a_good_load(
    store: DirectoryStore, directory: Path
) -> None:
    """What was read before is no excuse for what is there now."""
    store.load()
    ring_file(directory).write_bytes(ring_file(directory).read_bytes()[:-1])
    with pytest.raises(UnreadableRing):
        store.load()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xff\xfe",
        b"....",
        b"a.b.c.d.e",
        b"x" * 100_000,
        b64(b"[" * 3000) + b"....",
        b64(b"[]") + b"....",
        b64(b'{"alg":"none"}') + b"....",
        b64(b'{"alg":"dir","enc":"A256GCM","cty":"gatepass-keyring+json"}') + b"....",
        b64(b'{"alg":"dir","cty":"gatepass-keyring+json"}') + b".AA.AA.AA.AA",
        b"0" * (4 * 2**20 + 1),
        b"{",
        b'{"a":' * 100_000,
    ],
)
@pytest.mark.parametrize("secret", [SECRET, None])
def test_rubbish_is_refused(directory: Path, octets: bytes, secret: bytes | None) -> None:
    """No file content is an unexpected exception, or an empty ring."""
    directory.mkdir(mode=0o700)
    ring_file(directory).touch(mode=0o600)
    ring_file(directory).write_bytes(octets)
    with pytest.raises(UnreadableRing):
        DirectoryStore(directory, secret, development=True).load()


@pytest.mark.parametrize("count", ["300001", "10000000000", "0", "-1", "true", "2.5", '"9"'])
def test_a_planted_iteration_count_is_not_computed(directory: Path, count: str) -> None:
    """A file cannot make the issuer run PBKDF2 for hours: the count is bounded before it runs."""
    head = (
        '{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","cty":"gatepass-keyring+json",'
        f'"p2s":"AAAAAAAAAAAAAAAAAAAAAA","p2c":{count}}}'
    )
    directory.mkdir(mode=0o700)
    ring_file(directory).touch(mode=0o600)
    ring_file(directory).write_bytes(
        b".".join([b64(head.encode()), b64(bytes(40)), b64(bytes(12)), b"AA", b64(bytes(16))])
    )
    with pytest.raises(UnreadableRing):
        DirectoryStore(directory, PASSPHRASE).load()


def edit(directory: Path, change: Callable[[dict[str, object]], object]) -> None:
    document = json.loads(ring_file(directory).read_bytes())
    change(document)
    ring_file(directory).write_bytes(json.dumps(document).encode())


def first(document: dict[str, object]) -> dict[str, object]:
    keys = document["keys"]
    assert isinstance(keys, list)
    entry: dict[str, object] = keys[0]
    return entry


def swap_private(document: dict[str, object]) -> None:
    keys = document["keys"]
    assert isinstance(keys, list)
    keys[0]["private"], keys[1]["private"] = keys[1]["private"], keys[0]["private"]


def sealing(document: dict[str, object]) -> dict[str, object]:
    keys = document["keys"]
    assert isinstance(keys, list)
    entry: dict[str, object] = next(key for key in keys if key["alg"] == SEALING_ALGORITHM)
    return entry


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(version=2),
        lambda d: d.pop("version"),
        lambda d: d.update(keys=None),
        lambda d: d.update(keys=[5]),
        lambda d: d.update(keys=[*d["keys"], d["keys"][0]]),
        lambda d: first(d).pop("created"),
        lambda d: first(d).update(more=1),
        lambda d: first(d).update(state="sleeping"),
        lambda d: first(d).update(state=["active"]),
        lambda d: first(d).update(state="pending"),
        lambda d: first(d).update(state="retiring", demoted=5, gone_at=6),
        lambda d: first(d).update(created="5"),
        lambda d: first(d).update(created=True),
        lambda d: first(d).update(gone_at=5),
        lambda d: first(d).update(kid="another"),
        lambda d: first(d).update(alg="EdDSA"),
        lambda d: first(d).update(alg="none"),
        lambda d: first(d).update(public=None),
        lambda d: first(d).update(private=None),
        lambda d: first(d).update(private="AAAA"),
        lambda d: first(d).update(private="!"),
        lambda d: first(d)["public"].update(kid="another"),
        lambda d: sealing(d).update(private="AAAA"),
        lambda d: sealing(d).update(private="A"),
        lambda d: sealing(d).update(private=None),
        lambda d: sealing(d).update(public={}),
        lambda d: sealing(d).update(kid=None),
        swap_private,
    ],
)
def test_a_ring_edited_by_hand_is_refused(
    directory: Path, change: Callable[[dict[str, object]], object]
) -> None:
    """In development the file can be edited; an edit that makes no sense is refused at once."""
    store = DirectoryStore(directory, None, development=True)
    ring = store.update(rotating())
    edit(directory, change)
    with pytest.raises(UnreadableRing, match="not a usable key ring") as refused:
        store.load()
    secrets = [spelling.decode("latin-1") for spelling in private_spellings(ring)]
    assert not [text for text in secrets if text in str(refused.value)]


def test_a_key_of_an_unsupported_kind_is_refused(directory: Path) -> None:
    """A private half of a type that signs none of our algorithms is no key of ours."""
    ring = DirectoryStore(directory, None, development=True).update(rotating())
    other = ec.generate_private_key(ec.SECP384R1())
    wrong = replace(ring.keys[0], private=other)
    store = DirectoryStore(directory, None, development=True)
    store.update(lambda ring: KeyRing((wrong, *ring.keys[1:])))
    with pytest.raises(UnreadableRing):
        DirectoryStore(directory, None, development=True).load()


def test_a_large_ring_fits(directory: Path) -> None:
    """Hundreds of sealing keys, more than a JWE for a token may hold, are written and read."""
    ring = KeyRing(tuple(generate(SEALING_ALGORITHM, number) for number in range(900)))
    DirectoryStore(directory, SECRET).update(lambda _: ring)
    assert ring_file(directory).stat().st_size > 65_536
    assert DirectoryStore(directory, SECRET).load() == ring


def test_unused_bits_are_no_second_spelling(store: DirectoryStore, directory: Path) -> None:
    """A change that a lax base64url decoder would not see is refused too (RFC 7515 section 2)."""
    good = ring_file(directory).read_bytes()
    # The tag's 16 octets leave four unused bits in its last character.
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same_octets = good[:-1] + alphabet[(at := alphabet.index(good[-1])) + 1 : at + 2]
    assert len(good.split(b".")[4]) == 22
    assert base64.urlsafe_b64decode(good[-22:] + b"==") == base64.urlsafe_b64decode(
        same_octets[-22:] + b"=="
    )
    ring_file(directory).write_bytes(same_octets)
    with pytest.raises(UnreadableRing):
        DirectoryStore(directory, SECRET).load()
