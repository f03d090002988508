"""Mistakes put into the limits: what is played against them comes out differently each time."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
from harness import stacks
from harness.family_mutants import changed
from harness.issuer_app import USERNAME, IssuerApp
from harness.limits import HOME, attempt, elsewhere, limits, log_in
from limits._storage_scheme import SCHEMES

from issuer.limits import opening
from issuer.limits.errors import TooManyRequests
from issuer.limits.storage import SharedStorage

NAMES = [f"person{number}@example.org" for number in range(6)]
LATE = "late@example.org"
LIMITS = limits(
    guesses_account_network="2 per hour; 4 per minute",
    guesses_account="3 per minute",
    guesses_address="4 per minute",
    refreshes_session="2 per minute",
    refreshes_refused="2 per minute",
    resets_account_network="2 per minute",
    resets_account="3 per minute",
)
JUDGE = "        self._refuse_if(self._look(attempt)[0])\n"
COUNT = "self._tally.count(attempt.counted)"
JUDGE_FAILED = f"self._refuse_if(_longer(anywhere, {COUNT}))"
WELCOME = "        self._welcome(attempt)\n"
NETWORK = 'digest("account and network", username, net)'
INCR = "return self._ask(lambda counts: counts.incr(key, expiry, amount))"
ITEMS = "for key, item in counter.keys().items()\n        ]"

MUTANTS = {
    "every attempt counts": ("guard", "forget(attempt.own)", "count(attempt.counted)"),
    "no failure counts": ("guard", COUNT, "None"),
    "a failure too many is told": ("guard", JUDGE_FAILED, COUNT),
    "a right password passes whatever failed meanwhile": ("guard", JUDGE + WELCOME, WELCOME),
    "nothing is refused beforehand": ("guard", JUDGE + "        try:", "        try:"),
    "a success does not make up": ("guard", "self._tally.forget(attempt.own)", "pass"),
    "no network is remembered": ("guard", "if attempt.network and", "if False and"),
    "a known network is judged by all": ("guard", "own if attempt.known else", "own if 0 else"),
    "a known network tells": ("guard", "_, anywhere = self", "anywhere, _ = self"),
    "failures at a known network go nowhere": ("guard", "[self.own, *self.places]", "[self.own]"),
    "what fails at home counts elsewhere": ("guard", "everywhere if self.known", "everywhere if 0"),
    "all accounts are one": ("guard", 'digest("account", username)', 'digest("account")'),
    "all networks of an account are one": ("guard", NETWORK, NETWORK.replace(", net)", ")")),
    "all resets are sent": ("guard", "return False", "return True"),
    "no reset is counted": ("guard", "self._tally.count([attempt.strangers])", "pass"),
    "no request is counted": ("guard", "self._tally.count(places)", "pass"),
    "one less than the limit": ("windows", "if count >= amount", "if count >= amount - 1"),
    "one more than the limit": ("windows", "if count >= amount", "if count > amount"),
    "only one of the windows": ("windows", ITEMS, ITEMS.replace("\n", " if '/minute' in key\n")),
    "a wait for ever": ("windows", "math.ceil(ends - time.time())", "86_400"),
    "no wait": ("windows", "math.ceil(ends - time.time())", "0"),
    "all sessions are one": ("refreshes", 'of("session", sid)', 'of("session")'),
    "no refresh is refused": ("refreshes", "if full is not None:", "if False:"),
    "each failure begins the window anew": ("storage", INCR, f"self.clear(key); {INCR}"),
}  # fmt: skip


def play(issuer: IssuerApp) -> list[object]:
    """What an issuer with `LIMITS` answers to a little of everything."""
    seen: list[object] = []
    accounts, judge = issuer.services.accounts, issuer.services.accounts.authenticate
    judged: list[str] = []

    def authenticate(username: str, password: str, *more: str) -> object:
        judged.append(username)
        return judge(username, password, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "authenticate", authenticate)
        seen += play_with_passwords(issuer)
    refreshes, resets = issuer.services.limits.refreshes, issuer.services.limits.resets
    seen += [outcome(refreshes.session, sid) for sid in ("one", "one", "two", "one", "two")]
    seen += [outcome(refreshes.refused, HOME) for _ in range(3)]
    seen += [outcome(resets.request, "ann", elsewhere(number // 2)) for number in range(5)]
    seen += [outcome(resets.request, "ben", HOME) for _ in range(3)]
    return [*seen, len(judged)]


def play_with_passwords(issuer: IssuerApp) -> list[object]:
    """Right and wrong ones, from here and there."""
    seen: list[object] = []
    # Mistyped and made up for, twice; guessed from elsewhere; back at home.
    for _ in range(2):
        seen += [log_in(issuer).status_code, attempt(issuer, HOME).status_code]
    seen.append(log_in(issuer).status_code)
    seen += [attempt(issuer, elsewhere(number // 2)).status_code for number in range(5)]
    seen += [log_in(issuer).status_code, attempt(issuer, HOME).status_code]
    # Many names from one address; one name from one network, until its hour is full.
    seen += [attempt(issuer, elsewhere(50), name).status_code for name in NAMES]
    seen += [waited(attempt(issuer, elsewhere(51), NAMES[0])) for _ in range(3)]
    # What failed at home was counted for its address.
    seen += [attempt(issuer, HOME, name).status_code for name in NAMES[4:]]
    return seen + others_fail_meanwhile(issuer)


def others_fail_meanwhile(issuer: IssuerApp) -> list[object]:
    """Four wrong passwords, while another one is being hashed: a right one, and a wrong one."""
    seen: list[object] = []
    accounts = issuer.services.accounts
    real = accounts.authenticate
    for address, name, last in ((HOME, USERNAME, log_in), (elsewhere(80), LATE, attempt)):
        with pytest.MonkeyPatch.context() as patch:

            def slow(username: str, password: str, *more: str) -> object:
                patch.undo()
                seen.extend(attempt(issuer, address, name).status_code for _ in range(4))  # noqa: B023
                return real(username, password, *more)

            patch.setattr(accounts, "authenticate", slow)
            seen.append(waited(last(issuer, address, name)))
    return seen


def waited(answer: object) -> object:
    """The status, and about how long there is to wait."""
    retry_after = answer.headers.get("Retry-After")  # type: ignore[attr-defined]
    scale = retry_after and ("an hour" if int(retry_after) > 60 else "a minute")
    return answer.status_code, scale, retry_after == "1"  # type: ignore[attr-defined]


def outcome(question: Callable[..., object], *args: str) -> object:
    """What it returns, or how long it makes wait."""
    try:
        return question(*args)
    except TooManyRequests as error:
        return "wait", 1 < error.retry_after <= 60


@stacks.anywhere
def test_each_mistake_is_noticed(
    make_issuer: Callable[..., IssuerApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The play comes out the same without a mistake, and otherwise with each."""
    issuer = make_issuer(limits=LIMITS)
    expected = play(issuer)
    unnoticed = []
    for name, (module, old, new) in MUTANTS.items():
        with monkeypatch.context() as patch:
            put_in(patch, module, (old, new))
            if play(afresh(issuer)) == expected:
                unnoticed.append(name)
    assert unnoticed == []
    assert play(afresh(issuer)) == expected


def afresh(issuer: IssuerApp) -> IssuerApp:
    """The issuer with limits that have counted nothing yet, made of what `opening` has now."""
    object.__setattr__(issuer.services, "limits", opening.open_limits(issuer.services.settings))
    return issuer


def put_in(patch: pytest.MonkeyPatch, name: str, change: tuple[str, str]) -> None:
    """A changed copy of a module, where the others have what they took from the real one."""
    original = importlib.import_module(f"issuer.limits.{name}")
    module = ModuleType(f"issuer.limits._mutant_{name}")
    module.__package__ = "issuer.limits"
    patch.setitem(sys.modules, module.__name__, module)
    for scheme in SharedStorage.STORAGE_SCHEME:
        patch.setitem(SCHEMES, scheme, SCHEMES[scheme])
    source = changed(inspect.getsource(original), change)
    exec(compile(source, f"<mutant of {name}>", "exec"), module.__dict__)
    for user in ("opening", "guard", "refreshes", "windows"):
        place = importlib.import_module(f"issuer.limits.{user}")
        for taken, what in list(vars(place).items()):
            if getattr(what, "__module__", None) == original.__name__ != place.__name__:
                patch.setattr(place, taken, module.__dict__[taken])
