"""Password hashing (argon2id) and the rules for a new password (NIST SP 800-63B-4, 3.1.1)."""

from __future__ import annotations

import secrets
import string
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from itertools import zip_longest
from typing import ClassVar, Protocol

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from argon2.low_level import hash_secret_raw

from .account import AccountError, BadCredentials, HashingBusy
from .hashing_queue import FairQueue

MAX_PASSWORD = 256
"""Characters. NIST asks for 64 at least; argon2 does not care, the request's size does."""

_ESTIMATOR_LIMIT = 40
"""Characters that zxcvbn sees; a long password is as weak as the pattern that it repeats."""
_MOST_SUBSTITUTIONS = 12
"""zxcvbn tries every reading of "leet" signs: its time doubles with each distinct one."""
_COMMON = 1500
"""Words of each list that pages get to know: those that weigh most."""
_SHORTEST_WORD = 3
_SIGNS = string.punctuation + string.whitespace
_LEET = frozenset("4@8({[<369&#!1/|0$5+7%2")


class PasswordRefused(AccountError):
    """A new password that the rules refuse; the text says which one and may be shown."""

    code = "password_refused"


def normalise(password: str) -> str:
    """NFKC, so that one password typed on two keyboards is one (SP 800-63B-4, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


class PasswordPolicy:
    """Length and blocklist, no composition rules, no forced change (SP 800-63B-4, 3.1.1.2)."""

    MAX: ClassVar[int] = MAX_PASSWORD

    def __init__(self, min_length: int, context: tuple[str, ...] = ()) -> None:
        """`context` are the service's own names, which a password may not be built from."""
        self._min_length = min_length
        self._context = context

    def check(self, password: str, username: str) -> None:
        """Raise `PasswordRefused` with a text for the person."""
        length = len(password)
        if length < self._min_length:
            raise PasswordRefused(f"a password has at least {self._min_length} characters")
        if length > MAX_PASSWORD:
            raise PasswordRefused(f"a password has at most {MAX_PASSWORD} characters")
        if self._is_guessable(normalise(password), username):
            raise PasswordRefused(
                "this password is on the list of those that are guessed first,"
                " or is built from such words, from a pattern, or from your name"
            )

    def _is_guessable(self, password: str, username: str) -> bool:
        # The package ships the blocklist: the most common passwords, words and names. Score 1 and
        # below are those that fewer than 10^6 guesses find.
        from zxcvbn import zxcvbn

        folded = password.casefold()
        if folded in common_passwords():
            return True
        local_part = username.partition("@")[0]
        own = [word for word in (username, local_part, *self._context) if word]
        if any(folded.strip("0123456789!.-_ ") == word.casefold() for word in own):
            return True
        if _is_only(folded, own):
            return True
        names = [word[:_ESTIMATOR_LIMIT] for word in own]
        if not _estimating.acquire(timeout=_ESTIMATE_PATIENCE):
            raise HashingBusy("too many passwords are being checked; try again in a moment")
        try:
            # One piece that nobody guesses is enough.
            return all(
                zxcvbn(piece, user_inputs=names)["score"] <= 1
                for piece in _pieces(password[:_ESTIMATOR_LIMIT])
            )
        finally:
            _estimating.release()


def _is_only(folded: str, own: list[str]) -> bool:
    """Whether own words, however often, signs and spaces are all there is."""
    rest = folded
    for word in sorted((word.casefold() for word in own), key=len, reverse=True):
        rest = rest.replace(word, "")
    return rest != folded and not rest.strip(_SIGNS)


def _pieces(password: str) -> Iterator[str]:
    """The whole of a usual password; one full of signs in pieces that can be estimated in time."""
    seen: set[str] = set()
    start = 0
    for at, character in enumerate(password):
        if character in _LEET and len(seen | {character}) > _MOST_SUBSTITUTIONS:
            yield password[start:at]
            start, seen = at, set()
        seen |= _LEET.intersection(character)
    yield password[start:]


# The package keeps `user_inputs` in a dictionary of its module: two threads would mix theirs.
_estimating = threading.Lock()
_ESTIMATE_PATIENCE = 5.0


@cache
def common_passwords() -> frozenset[str]:
    """The blocklist: passwords that are guessed first, in small letters."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])


@cache
def common_words() -> tuple[str, ...]:
    """The commonest passwords, words and names, those that are guessed first in front."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    lists = [words[:_COMMON] for words in FREQUENCY_LISTS.values()]
    ranked = (word for rank in zip_longest(*lists) for word in rank if word is not None)
    return tuple(dict.fromkeys(word for word in ranked if len(word) >= _SHORTEST_WORD))


_SALT = bytes(16)
"""Of hashes that are made for their time alone."""


def _cost(parameters: argon2.Parameters) -> int:
    """What a hash takes, in KiB filled."""
    return parameters.time_cost * parameters.memory_cost


class Turn(Protocol):
    """What is told of a password that wants to be hashed."""

    def begins(self) -> object:
        """Its turn has come."""


class PasswordHasher:
    """argon2id through argon2-cffi, with bounded concurrency."""

    def __init__(
        self,
        *,
        time_cost: int,
        memory_cost: int,
        parallelism: int,
        concurrency: int,
        waiting: int = 4,
        patience: float = 5.0,
        watch: Callable[[], AbstractContextManager[Turn | None]] = nullcontext,
    ) -> None:
        """`memory_cost` in KiB.

        `concurrency` hashes run at once, `waiting` more wait `patience` seconds for their turn,
        and whoever comes beyond that is told so at once: a flood of logins must not hold every
        thread. `watch` is entered with each, from its arrival to its end.
        """
        self._hasher = argon2.PasswordHasher(
            time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism
        )
        self._queue = FairQueue(running=concurrency, waiting=waiting, patience=patience)
        self._watch = watch
        # Made now, so that the first unknown name takes no longer than the second.
        self._dummy = self._hasher.hash(secrets.token_urlsafe(16))

    @contextmanager
    def turn(self, source: str = "") -> Iterator[None]:
        """A turn at what is dear; `source` is the client's address. Raises `HashingBusy`."""
        with self._watch() as watched, self._queue.turn(source):
            if watched is not None:
                watched.begins()
            yield

    def hash(self, password: str, source: str = "") -> str:
        """The PHC string of a password under the present parameters. Raises `HashingBusy`."""
        with self.turn(source):
            return self._hasher.hash(normalise(password))

    def verify(self, password_hash: str, password: str, source: str = "") -> None:
        """Raise `BadCredentials` unless the password fits, `HashingBusy` under load.

        Takes the time of a hash under the present parameters, whatever the hash is (ASVS 6.3.8).
        """
        with self.turn(source):
            spent = 0
            try:
                spent = _cost(argon2.extract_parameters(password_hash))
                self._hasher.verify(password_hash, normalise(password))
            except VerifyMismatchError:
                raise BadCredentials("the password does not fit") from None
            except (VerificationError, InvalidHashError):
                spent = 0  # it was read, and nothing was hashed
                raise BadCredentials("the account's hash is none", "no_hash") from None
            finally:
                self._spend_rest(spent)

    def verify_nobody(self, password: str, source: str = "") -> None:
        """Spend the time of `verify` on a name that nobody has (ASVS 6.3.8). Always raises."""
        with suppress(BadCredentials):
            self.verify(self._dummy, password, source)
        raise BadCredentials("no such account", "unknown_account")

    def _spend_rest(self, spent: int) -> None:
        """Make up for a cheaper hash, or for one that could not be read at all."""
        own = self._hasher
        memory = (own.time_cost * own.memory_cost - spent) // own.time_cost
        if memory >= 8 * own.parallelism:  # the least that argon2 takes
            hash_secret_raw(
                b"",
                _SALT,
                time_cost=own.time_cost,
                memory_cost=memory,
                parallelism=own.parallelism,
                hash_len=own.hash_len,
                type=own.type,
            )

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made under other parameters."""
        return self._hasher.check_needs_rehash(password_hash)
