"""Where the ring is kept: the protocol, and a directory of one machine (or a shared disk)."""

import contextlib
import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from .envelope import MOST_BYTES, Envelope
from .errors import InsecureStore, KeyStoreError, StoreBusy, UnreadableRing
from .held import Hold
from .ring import KeyRing

RING_FILE: Final = "keyring.jwe"
_TEMPORARY_FILE: Final = "keyring.tmp"
_LOCK_FILE: Final = "keyring.lock"
_LOCK_POLL: Final = 0.02
_FOREIGN: Final = stat.S_IRWXG | stat.S_IRWXO

_log = logging.getLogger("gatepass.keys")


class KeyStore(Protocol):
    """What keeps the ring for all issuers of one deployment.

    Every method raises KeyStoreError (or a subclass) and nothing else of its own.
    """

    def load(self) -> KeyRing:
        """The last ring that an `update` wrote; an empty one if none did.

        Never a mixture of two rings, also while another process updates. Safe to repeat.
        """
        ...

    def update(self, fn: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """Replace the ring by `fn` of it; returns what is stored afterwards.

        Exclusive: `fn` sees the newest ring and no other process updates until it is written.
        Atomic and durable: a process killed at any moment leaves the old ring or the new one, and
        the new one once this has returned. When `fn` returns its argument, nothing is written;
        when it raises, nothing has changed. After an error the caller may simply try again:
        `fn` is given whatever is stored then, so it must be a function of its argument alone.
        """
        ...


class DirectoryStore:
    """One encrypted file in a directory that nobody else can enter.

    `path` is made (0700) by the first update. `secret` is the 32-byte key or the passphrase that
    encrypts the file; None stores in the clear and needs `development`. `lock_timeout` is how long
    an update waits for another process, seconds. `hold` gives the private halves that lie
    elsewhere. `crash_point` is called with a name between the steps of a write, for tests that
    kill the process there.
    Raises KeyStoreError; InsecureStore where a mode, an owner or a link is wrong.

    Whoever can write to the directory can put an older file back: that is not detected.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        secret: bytes | str | None,
        *,
        development: bool = False,
        lock_timeout: float = 10.0,
        hold: Hold | None = None,
        crash_point: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._path = Path(path)
        self._file = self._path / RING_FILE
        self._envelope = Envelope(self._file, secret, development=development, hold=hold)
        self._lock_timeout = lock_timeout
        self._crash_point = crash_point
        # What was read last, so that the scheduler's many loads of an unchanged file cost neither
        # PBKDF2 nor the parsing of keys. One tuple, so that threads see both halves or neither.
        self._last: tuple[bytes, KeyRing] | None = None
        if not self._envelope.encrypts:
            _log.warning("keys in %s are stored in the clear: for development only", self._path)

    def load(self) -> KeyRing:
        """See `KeyStore.load`."""
        with self._errors(), self._directory() as directory:
            return KeyRing() if directory is None else self._read(directory)

    def update(self, fn: Callable[[KeyRing], KeyRing]) -> KeyRing:
        """See `KeyStore.update`. Raises StoreBusy after `lock_timeout`."""
        with self._errors():
            self._make_directory()
            with self._directory() as directory:
                if directory is None:
                    raise KeyStoreError(self._path, "the directory vanished: try again")
                with self._lock(directory):
                    old = self._read(directory)
                    new = fn(old)
                    if new is not old:
                        self._write(directory, new)
                    return new

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise KeyStoreError(self._path, error.strerror or type(error).__name__) from error

    def _make_directory(self) -> None:
        try:
            self._path.mkdir(mode=0o700)
        except FileExistsError:
            return
        except FileNotFoundError:
            raise KeyStoreError(self._path, "make the directory that holds it first") from None
        parent = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    @contextlib.contextmanager
    def _directory(self) -> Iterator[int | None]:
        # Everything below goes through this descriptor, so that what was checked is what is used.
        try:
            directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
            raise InsecureStore(
                self._path, "is a symbolic link or no directory: name the directory itself"
            ) from None
        try:
            self._check_private(self._path, os.fstat(directory), stat.S_ISDIR, "0700")
            yield directory
        finally:
            os.close(directory)

    def _open(self, directory: int, name: str, flags: int) -> int:
        path = self._path / name
        try:
            # O_NONBLOCK: a planted FIFO must not make the issuer wait for ever.
            fd = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, mode=0o600, dir_fd=directory)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise InsecureStore(path, "is a symbolic link: put the file itself here") from None
        try:
            self._check_private(path, os.fstat(fd), stat.S_ISREG, "0600")
        except BaseException:
            os.close(fd)
            raise
        return fd

    @staticmethod
    def _check_private(
        path: Path, status: os.stat_result, is_kind: Callable[[int], bool], wanted: str
    ) -> None:
        if not is_kind(status.st_mode):
            raise InsecureStore(path, "is of another kind, no regular file: remove it")
        if status.st_uid != os.geteuid():
            raise InsecureStore(
                path, f"belongs to user {status.st_uid}: chown it to user {os.geteuid()}"
            )
        mode = stat.S_IMODE(status.st_mode)
        if mode & _FOREIGN:
            raise InsecureStore(
                path, f"has mode {mode:04o}, so that others get at it: chmod {wanted} it"
            )

    @contextlib.contextmanager
    def _lock(self, directory: int) -> Iterator[None]:
        # A file of its own: the ring's file is replaced, and with it any lock on it.
        fd = self._open(directory, _LOCK_FILE, os.O_RDWR | os.O_CREAT)
        try:
            deadline = time.monotonic() + self._lock_timeout
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise StoreBusy(
                            self._path / _LOCK_FILE,
                            f"another process has held it for {self._lock_timeout:g} s: try again",
                        ) from None
                    time.sleep(_LOCK_POLL)
            yield
        finally:
            os.close(fd)

    def _read(self, directory: int) -> KeyRing:
        try:
            fd = self._open(directory, RING_FILE, os.O_RDONLY)
        except FileNotFoundError:
            return KeyRing()
        with os.fdopen(fd, "rb") as file:
            octets = file.read(MOST_BYTES + 1)
        if len(octets) > MOST_BYTES:
            raise UnreadableRing(self._file, f"is larger than {MOST_BYTES} bytes: no key ring")
        last = self._last
        if last is not None and last[0] == octets:
            return last[1]
        ring = self._envelope.open(octets)
        self._last = (octets, ring)
        return ring

    def _write(self, directory: int, ring: KeyRing) -> None:
        octets = self._envelope.close(ring)
        self._crash_point("before-write")
        # Under the lock, so what stands under this name is left over from a killed process.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_TEMPORARY_FILE, dir_fd=directory)
        fd = self._open(directory, _TEMPORARY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(fd, "wb") as file:
            self._crash_point("temporary-made")
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        self._crash_point("before-rename")
        os.rename(_TEMPORARY_FILE, RING_FILE, src_dir_fd=directory, dst_dir_fd=directory)
        self._crash_point("after-rename")
        os.fsync(directory)
        self._last = (octets, ring)
