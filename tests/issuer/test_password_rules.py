"""The rules for a new password, and how passwords are hashed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from issuer.accounts import (
    BadCredentials,
    HashingBusy,
    PasswordHasher,
    PasswordPolicy,
    PasswordRefused,
    passwords,
)
from issuer.accounts.passwords import MAX_PASSWORD

USERNAME = "margarethe.huber@example.org"
GOOD = "seven violet otters juggle 91"


@pytest.fixture(scope="module")
def policy() -> PasswordPolicy:
    """NIST's rules for a password that is the only factor."""
    return PasswordPolicy(15, context=("gatepass",))


@pytest.fixture
def hasher() -> PasswordHasher:
    """A cheap hasher."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, concurrency=2)


def refusal(policy: PasswordPolicy, password: str) -> str:
    """Why a password is refused; empty if it is not."""
    try:
        policy.check(password, USERNAME)
    except PasswordRefused as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "correct horse battery staple",
        "vK9#qLm2@xR7!pZ",
        "nur kleine buchstaben hier",
        "パスワードではない長い文章です",
        "🦔 🐢 🦀 🐝 🦉 🐳 🦩 🐌",
        " spaces around it count ",
    ],
)
def test_a_good_password_needs_no_composition(policy: PasswordPolicy, password: str) -> None:
    """Any characters will do, spaces and other scripts among them."""
    assert refusal(policy, password) == ""


LENGTHS = [(14, "at least"), (15, ""), (256, ""), (257, "at most")]


@pytest.mark.parametrize(("length", "why"), LENGTHS)
def test_the_bounds_of_the_length_are_exact(policy: PasswordPolicy, length: int, why: str) -> None:
    """15 characters are enough, 256 are not too many."""
    password = ("vK9#qLm2@xR7!pZ and more that no list has: " * 8)[:length]
    text = refusal(policy, password)
    assert why in text
    assert bool(why) == bool(text)


def test_characters_are_counted_not_bytes(policy: PasswordPolicy) -> None:
    """Fifteen characters of four bytes each are fifteen."""
    assert "15 characters" in refusal(policy, "🦔🐢🦀🐝🦉🐳🦩🐌🦊🐙🦋🐞🦜🐠")
    assert refusal(policy, "🦔🐢🦀🐝🦉🐳🦩🐌🦊🐙🦋🐞🦜🐠🦚") == ""


def test_the_shortest_length_is_a_setting() -> None:
    """With a second factor eight characters are enough."""
    PasswordPolicy(8).check("vK9#qLm2", USERNAME)
    with pytest.raises(PasswordRefused):
        PasswordPolicy(8).check("vK9#qLm", USERNAME)


@pytest.mark.parametrize(
    "password",
    [
        f"{USERNAME} {USERNAME} {USERNAME} {USERNAME}",
        "Gatepass-gatepass!",
        "passwordpassword",
        "Password123456789",
        "123456789012345",
        "qwertyuiopasdfgh",
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "asdfghjklasdfghjkl",
        "1234567890!@#$%^&*()",
        "!@#$%^&*()1234567890",
        "iloveyouiloveyou",
        "x" * 256,
        "password" * 30,
        "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44" * 2,
    ],
)
def test_what_is_guessed_first_is_refused(policy: PasswordPolicy, password: str) -> None:
    """Lists, repetitions and keyboard walks, in any case and any width."""
    assert "guessed first" in refusal(policy, password)


@pytest.mark.parametrize(
    "password",
    [
        USERNAME,
        USERNAME.upper(),
        f"{USERNAME}1",
        f"!!{USERNAME}2024",
        "margarethe.huber",
        "Margarethe.Huber1",
        "gatepassgatepass",
        "gatepass1234567",
    ],
)
def test_the_own_name_and_the_service_s_are_refused(policy: PasswordPolicy, password: str) -> None:
    """A user name, its local part and the service's name are what is tried first."""
    assert "guessed first" in refusal(policy, password)


def test_no_refusal_quotes_the_password(policy: PasswordPolicy) -> None:
    """The text may be shown and logged."""
    for password in ("short secret", "passwordpassword", "y" * 300):
        text = refusal(policy, password)
        assert text
        assert password not in text


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=15, max_size=80), st.text(max_size=20))
@example("\0" * 20, "\0")
@example("\u0130" * 20, "\u0130")
@example("0" * 72, "")
def test_every_text_is_accepted_or_refused(password: str, username: str) -> None:
    """No text breaks the estimator."""
    with suppress(PasswordRefused):
        PasswordPolicy(15).check(password, username)


def test_estimates_of_several_people_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimator keeps the names it is given in a global; each check must see its own."""
    import zxcvbn as package

    policy = PasswordPolicy(15)
    real = package.zxcvbn
    inside, most = [0], [0]
    lock = threading.Lock()

    def watched(password: str, user_inputs: list[str]) -> object:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        try:
            return real(password, user_inputs=user_inputs)
        finally:
            with lock:
                inside[0] -= 1

    monkeypatch.setattr(package, "zxcvbn", watched)
    names = [f"kowalewskaja{number}" for number in range(8)]
    start = threading.Barrier(8)

    def check(name: str) -> bool:
        start.wait(10)
        with pytest.raises(PasswordRefused):
            policy.check(f"password{name}", name)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, names))
    assert most == [1]


def test_a_password_full_of_signs_is_estimated_in_time(
    policy: PasswordPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimator tries every reading of "leet" signs, and is never given too many at once."""
    import zxcvbn as package

    real = package.zxcvbn
    seen: list[str] = []

    def watched(password: str, user_inputs: list[str]) -> object:
        seen.append(password)
        return real(password, user_inputs=user_inputs)

    monkeypatch.setattr(package, "zxcvbn", watched)
    signs = "4@8({[<369&#!1/|0$5+7%2"
    walk = "1234567890!@#$%^&*()"
    assert "guessed first" in refusal(policy, walk)
    assert "".join(seen) == walk
    assert refusal(policy, signs + "password" * 20) == ""
    assert max(len(set(piece) & set(signs)) for piece in seen) <= 12
    # One piece that is hard to guess is enough, wherever it stands.
    assert refusal(policy, "1234567890!@#$%^&*() vK9qLmxRpZ") == ""


def test_a_busy_estimator_says_so(policy: PasswordPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimates take turns; whoever waits too long is told to come back."""
    monkeypatch.setattr(passwords, "_ESTIMATE_PATIENCE", 0.001)
    with passwords._estimating, pytest.raises(HashingBusy):
        policy.check(GOOD, USERNAME)
    policy.check(GOOD, USERNAME)


# Hashing


def test_a_hash_fits_its_password_alone(hasher: PasswordHasher) -> None:
    """`verify` returns for the right password and raises for any other."""
    made = hasher.hash(GOOD)
    assert made.startswith("$argon2id$")
    hasher.verify(made, GOOD)
    assert hasher.hash(GOOD) != made
    for wrong in ("", GOOD + " ", GOOD.upper()):
        with pytest.raises(BadCredentials):
            hasher.verify(made, wrong)


@pytest.mark.parametrize("broken", ["", "x", "$argon2id$v=19$m=8,t=1,p=1$AAAA", "$2b$12$abc"])
def test_what_is_no_hash_fits_no_password(hasher: PasswordHasher, broken: str) -> None:
    """A damaged or foreign hash is a wrong password."""
    with pytest.raises(BadCredentials):
        hasher.verify(broken, GOOD)


@pytest.mark.parametrize(
    ("typed", "again"),
    [
        ("\u00e4 caf\u00e9 na\u00efve 12345", "a\u0308 cafe\u0301 nai\u0308ve 12345"),
        ("\uff53even violet otters", "seven violet otters"),
        ("\ufb01fteen letters here", "fifteen letters here"),
    ],
)
def test_a_password_is_normalised(hasher: PasswordHasher, typed: str, again: str) -> None:
    """Forms that NFKC makes one are one password."""
    assert typed != again
    hasher.verify(hasher.hash(typed), again)
    hasher.verify(hasher.hash(again), typed)


def test_long_passwords_count_to_the_last_character(hasher: PasswordHasher) -> None:
    """Nothing is cut off, unlike bcrypt's 72 bytes."""
    long = "x" * MAX_PASSWORD
    made = hasher.hash(long)
    with pytest.raises(BadCredentials):
        hasher.verify(made, long[:-1] + "y")
    made = hasher.hash("before\0after")
    with pytest.raises(BadCredentials):
        hasher.verify(made, "before\0other")


def test_nobody_never_fits(hasher: PasswordHasher) -> None:
    """The hash of nobody fits no password, and is made anew in each process."""
    with pytest.raises(BadCredentials):
        hasher.verify_nobody("")
    other = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, concurrency=1)
    assert other._dummy != hasher._dummy


def test_only_other_parameters_need_a_rehash(hasher: PasswordHasher) -> None:
    """A hash under the present parameters stays."""
    made = hasher.hash(GOOD)
    assert not hasher.needs_rehash(made)
    stronger = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1, concurrency=1)
    assert stronger.needs_rehash(made)


def test_a_busy_hasher_says_so() -> None:
    """With every slot taken, hashing and checking raise once patience is over."""
    hasher = PasswordHasher(
        time_cost=1, memory_cost=8, parallelism=1, concurrency=2, patience=0.001
    )
    made = hasher.hash(GOOD)
    with hasher.turn(), hasher.turn():
        for busy in (lambda: hasher.hash(GOOD), lambda: hasher.verify(made, GOOD)):
            with pytest.raises(HashingBusy):
                busy()
        with pytest.raises(HashingBusy):
            hasher.verify_nobody(GOOD)
    hasher.verify(made, GOOD)


def test_a_flood_is_told_at_once() -> None:
    """Beyond those that run and those that may wait, nobody waits at all."""
    hasher = PasswordHasher(
        time_cost=1, memory_cost=8, parallelism=1, concurrency=1, waiting=0, patience=3600
    )
    made = hasher.hash(GOOD)
    with hasher.turn(), pytest.raises(HashingBusy):
        hasher.verify(made, GOOD)
    hasher.verify(made, GOOD)


def test_a_failed_check_gives_its_slot_back(hasher: PasswordHasher) -> None:
    """Wrong passwords do not use the slots up."""
    made = hasher.hash(GOOD)
    for _ in range(5):
        with pytest.raises(BadCredentials):
            hasher.verify(made, "wrong")
    hasher.verify(made, GOOD)
