"""The directory store: what it reads back, what it writes, and whose files it refuses."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from harness.key_directory import NOW, PASSPHRASE, POLICY, SECRET, ring_file, rotating

from keys import DirectoryStore, InsecureStore, KeyRing, KeyState, KeyStoreError, generate

# --- reading back --------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [SECRET, PASSPHRASE])
def test_a_ring_is_read_back_by_another_process_object(
    directory: Path, secret: bytes | str
) -> None:
    """Every state, both kinds of key and their halves come back as they were written."""
    writer = DirectoryStore(directory, secret)
    for now in (NOW, NOW + POLICY.sealing_period, NOW + POLICY.signing_period * 2):
        written = writer.update(rotating(now))
        written = writer.update(rotating(now + POLICY.lead))
    assert {key.state for key in written.keys} >= {KeyState.ACTIVE, KeyState.RETIRING}
    read = DirectoryStore(directory, secret).load()
    assert read == written
    for ours, theirs in zip(written.keys, read.keys, strict=True):
        assert type(ours.private) is type(theirs.private)
        assert ours.public == theirs.public
        if isinstance(ours.private, bytes):
            assert ours.private == theirs.private


def test_an_rsa_key_is_read_back(directory: Path) -> None:
    """An RSA key keeps its numbers and its algorithm on the way through the file."""
    key = generate("PS256", NOW)
    DirectoryStore(directory, SECRET).update(lambda _: KeyRing((key,)))
    read = DirectoryStore(directory, SECRET).load().keys[0]
    assert (read, read.public) == (key, key.public)


def test_a_store_that_was_never_written_is_an_empty_ring(directory: Path) -> None:
    """No directory, and a directory without a ring, both load as the empty ring."""
    store = DirectoryStore(directory, SECRET)
    assert store.load() == KeyRing()
    assert not directory.exists()
    directory.mkdir(mode=0o700)
    assert store.load() == KeyRing()


def test_an_update_that_changes_nothing_writes_nothing(
    store: DirectoryStore, directory: Path
) -> None:
    """When the function returns its argument, the file is not touched."""
    before = ring_file(directory).stat()
    ring = store.update(lambda ring: ring)
    assert ring is store.load()
    assert ring_file(directory).stat().st_mtime_ns == before.st_mtime_ns
    assert ring_file(directory).stat().st_ino == before.st_ino


def test_an_update_that_raises_changes_nothing(store: DirectoryStore, directory: Path) -> None:
    """An error in the function leaves the file as it was and the lock free."""
    before = ring_file(directory).read_bytes()

    def failing(ring: KeyRing) -> KeyRing:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.update(failing)
    assert ring_file(directory).read_bytes() == before
    store.update(rotating(NOW + POLICY.signing_period))


def test_an_unchanged_file_is_decrypted_once(store: DirectoryStore, directory: Path) -> None:
    """A second load of the same octets gives the same ring object; a change is seen at once."""
    reader = DirectoryStore(directory, SECRET)
    first = reader.load()
    assert reader.load() is first
    changed = store.update(rotating(NOW + POLICY.signing_period))
    assert reader.load() == changed != first


# --- permissions ---------------------------------------------------------------------------------


def test_what_it_makes_is_for_the_owner_alone(store: DirectoryStore, directory: Path) -> None:
    """Directory 0700, files 0600, whatever the umask; and no temporary file stays."""
    old = os.umask(0)
    try:
        other = directory.with_name("other")
        DirectoryStore(other, SECRET).update(rotating())
    finally:
        os.umask(old)
    for place in (directory, other):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
        assert modes == {"keyring.jwe": 0o600, "keyring.lock": 0o600}


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o720, 0o777])
def test_a_directory_that_others_can_enter_is_refused(
    store: DirectoryStore, directory: Path, mode: int
) -> None:
    """One bit for group or others on the directory is too many, and the mend is named."""
    directory.chmod(mode)
    for act in (store.load, lambda: store.update(rotating())):
        with pytest.raises(InsecureStore) as refused:
            act()
        assert refused.value.path == directory
        assert f"{mode:04o}" in str(refused.value)
        assert "chmod 0700" in str(refused.value)
        assert refused.value.code == "key_store_insecure"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o660])
@pytest.mark.parametrize("name", ["keyring.jwe", "keyring.lock"])
def test_a_file_that_others_can_touch_is_refused(
    store: DirectoryStore, directory: Path, name: str, mode: int
) -> None:
    """One bit for group or others on the ring or the lock is too many."""
    (directory / name).chmod(mode)
    with pytest.raises(InsecureStore, match="chmod 0600") as refused:
        store.update(rotating())
    assert refused.value.path == directory / name


@pytest.mark.parametrize("name", ["keyring.jwe", "keyring.lock"])
def test_a_symbolic_link_in_place_of_a_file_is_refused(
    store: DirectoryStore, directory: Path, name: str
) -> None:
    """A link is not followed, even to a file that would be good."""
    elsewhere = directory.with_name("elsewhere")
    (directory / name).rename(elsewhere)
    (directory / name).symlink_to(elsewhere)
    with pytest.raises(InsecureStore, match="symbolic link"):
        store.update(rotating())


def test_a_dangling_link_is_not_a_missing_ring(store: DirectoryStore, directory: Path) -> None:
    """A link to nowhere is refused instead of being taken for a store that was never used."""
    ring_file(directory).unlink()
    ring_file(directory).symlink_to(directory.with_name("nowhere"))
    with pytest.raises(InsecureStore, match="symbolic link"):
        store.load()


def test_a_symbolic_link_in_place_of_the_directory_is_refused(
    store: DirectoryStore, directory: Path
) -> None:
    """The directory itself must be named."""
    link = directory.with_name("link")
    link.symlink_to(directory, target_is_directory=True)
    for act in (
        DirectoryStore(link, SECRET).load,
        lambda: DirectoryStore(link, SECRET).update(rotating()),
    ):
        with pytest.raises(InsecureStore, match="symbolic link"):
            act()


def test_a_planted_link_under_the_temporary_name_is_not_written_through(
    store: DirectoryStore, directory: Path
) -> None:
    """A left-over or planted temporary file is removed, and what it points at stays as it is."""
    victim = directory.with_name("victim")
    victim.write_text("untouched")
    (directory / "keyring.tmp").symlink_to(victim)
    store.update(rotating(NOW + POLICY.signing_period))
    assert victim.read_text() == "untouched"
    assert not ring_file(directory).is_symlink()


def test_a_pipe_or_a_directory_in_place_of_the_ring_is_refused(
    store: DirectoryStore, directory: Path
) -> None:
    """A FIFO does not make the issuer wait, and a directory is no ring."""
    ring_file(directory).unlink()
    os.mkfifo(ring_file(directory), 0o600)
    with pytest.raises(InsecureStore, match="no regular file"):
        store.load()
    ring_file(directory).unlink()
    ring_file(directory).mkdir(mode=0o700)
    with pytest.raises(InsecureStore, match="no regular file"):
        store.load()


def test_another_users_directory_is_refused(
    store: DirectoryStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What belongs to somebody else is refused, and both users are named."""
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(InsecureStore, match=f"belongs to user {mine}: chown it to user {mine + 1}"):
        store.load()


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    """The store makes its own directory and no other."""
    with pytest.raises(KeyStoreError, match="make the directory that holds it first"):
        DirectoryStore(tmp_path / "missing" / "keys", SECRET).update(rotating())


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    """A path that leads to a file is an error of this package, not of the system."""
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeyStoreError):
        DirectoryStore(tmp_path / "keys", SECRET).update(rotating())


def test_an_error_of_the_system_becomes_one_of_ours(
    store: DirectoryStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is a KeyStoreError, and the old ring stays."""
    before = ring_file(directory).read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyStoreError, match="No space left on device"):
        store.update(rotating(NOW + POLICY.signing_period))
    assert ring_file(directory).read_bytes() == before
