"""The copy in HAProxy's maps, fed by hand: what is kept, what is dropped, when it closes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness.fed_haproxy import RULES, SALT, FedHaproxy, entry
from harness.native_gateways import asked_all_along
from harness.processes import until

from gateway.agents.haproxy_files import HaproxyFiles, Rules
from gateway.agents.haproxy_runtime import HaproxyUnavailable, Runtime
from gateway.agents.haproxy_sink import HaproxySink
from revocation import NEVER, Entry, ReplicaFull
from revocation.entry import to_record
from revocation.follower import suspension_aware_clock
from tokens import base64url

MANY = 20_000
"""Entries whose fill takes long enough for many requests."""


def test_it_closes_when_nobody_vouches(setting: FedHaproxy) -> None:
    """503 as soon as the follower takes its word back, or once it is too old."""
    token = setting.token(b"a" * 16)
    assert setting.status(token) == 200
    setting.sink.vouch(None)
    assert setting.status(token) == 503
    setting.sink.vouch(suspension_aware_clock() - RULES.max_staleness)
    assert setting.status(token) == 503
    setting.sink.vouch(suspension_aware_clock() - RULES.max_staleness + 10)
    assert setting.status(token) == 200


MUTANTS = {
    "never stale": ("return staleness >= 0 and staleness <= settings.max_staleness", "return true"),
    "by the wall clock alone": ("or expires + OUTLIVED_BY <= state.dropped", ""),
    "any signature": ('txn:get_var("txn.gatepass_verified") ~= 1', "false"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(setting: FedHaproxy, mutant: str) -> None:
    """What the tests here, and those of forged signatures, hold is not held by these."""
    text, instead = MUTANTS[mutant]
    program = setting.files.directory / "gatepass.lua"
    original = program.read_text()
    assert original.count(text) == 1
    program.write_text(original.replace(text, instead))
    try:
        setting.restart()
        setting.sink.tend()
        setting.sink.merge([entry(b"b" * 16, int(time.time()) + 400)])
        token = setting.token(b"a" * 16)
        if mutant == "never stale":
            setting.sink.vouch(suspension_aware_clock() - RULES.max_staleness)
        elif mutant == "any signature":
            token = f"{token.rpartition('.')[0]}.{base64url.encode(bytes(64))}"
        else:
            setting.sink.sweep(time.time() + 401)
            setting.sink.tend()
        assert setting.status(token) == 200
    finally:
        program.write_text(original)


def test_old_copies_still_refuse(setting: FedHaproxy) -> None:
    """What an old copy refuses is refused: 401, not 503."""
    setting.sink.merge([entry(b"a" * 16, NEVER)])
    setting.sink.vouch(None)
    assert setting.status(setting.token(b"a" * 16)) == 401
    assert setting.status(setting.token(b"b" * 16)) == 503


def test_untrusted_keys_close(setting: FedHaproxy) -> None:
    """Keys that are too old to be trusted close it; a key that has left is no longer taken."""
    token = setting.token(b"a" * 16)
    setting.sink.serve_keys(setting.entries, trusted=False)
    assert setting.status(token) == 503
    setting.sink.serve_keys({}, trusted=True)
    assert setting.status(token) == 401
    assert setting.sink.why_reload is None
    setting.sink.serve_keys(setting.entries, trusted=True)
    assert setting.sink.why_reload is not None


def test_only_what_has_expired_is_dropped(setting: FedHaproxy) -> None:
    """A sweep deletes at and before its moment, a few at a time, and never what stays for good."""
    now = int(time.time())
    records = [entry(number.to_bytes(16, "big"), now - 5) for number in range(250)]
    kept = [entry(b"x" * 16, now + 1), entry(b"y" * 16, NEVER)]
    setting.sink.merge([*records, *kept])
    assert len(setting.held()) == 252
    setting.sink.merge([entry(bytes(16), now + 100)])
    setting.sink.sweep(now)
    for _ in range(3):
        setting.sink.tend()
    assert len(setting.sink) == 3
    held = setting.held()
    assert set(held.values()) == {f"1/{now + 1}", f"1/{NEVER}", f"1/{now + 100}"}
    assert setting.status(setting.token(b"x" * 16)) == 401


def test_a_full_copy_has_what_there_was_room_for(setting: FedHaproxy) -> None:
    """HAProxy holds all that was taken in; what it holds still changes, and a sweep makes room."""
    now = int(time.time())
    first, second, third = (entry(bytes([number]) * 16, now + 60) for number in range(3))
    setting.sink._most = 2
    with pytest.raises(ReplicaFull, match="holds 2 entries"):
        setting.sink.merge([first, second, third])
    assert len(setting.held()) == len(setting.sink) == 2
    setting.sink.merge([replace(first, expires=now + 90)])
    assert sorted(setting.held().values()) == [f"1/{now + 60}", f"1/{now + 90}"]
    setting.sink.sweep(now + 60)
    setting.sink.tend()
    setting.sink.merge([third])
    assert len(setting.held()) == len(setting.sink) == 2


def test_what_was_dropped_may_have_been_a_tokens_entry(setting: FedHaproxy) -> None:
    """By a clock that has been put back since, a token is alive whose entry may be gone: 503.

    One that outlives all that was dropped passes, and so does the other once all is known again.
    """
    now = int(time.time())
    sooner, later = setting.token(b"a" * 16), setting.token(b"a" * 16, lifetime=600)
    assert [setting.status(token) for token in (sooner, later)] == [200, 200]
    # As it looks to HAProxy when its wall clock has been put back.
    setting.sink.merge([entry(b"b" * 16, now + 400)])
    setting.sink.sweep(now + 401)
    setting.sink.tend()
    for _ in range(2):
        assert [setting.status(token) for token in (sooner, later)] == [503, 200]
        setting.sink.vouch(suspension_aware_clock())
    setting.sink.hold_all_since(now)
    setting.sink.vouch(suspension_aware_clock())
    assert setting.status(sooner) == 200


def test_a_sweep_ends_where_all_is_read_afresh(setting: FedHaproxy) -> None:
    """By clocks that were ahead entries were over; put back, they count, all of them."""
    now = int(time.time())
    records = [entry(number.to_bytes(16, "big"), now + 600) for number in range(1, 400)]
    setting.sink.merge(records)
    setting.sink.sweep(now + 3600)
    setting.sink.tend()
    setting.sink.begin(SALT)
    setting.sink.merge(records)
    for _ in range(3):
        setting.sink.tend()
    setting.sink.hold_all_since(now)
    setting.sink.vouch(suspension_aware_clock())
    assert len(setting.held()) == len(records)
    assert {setting.status(setting.token(n.to_bytes(16, "big"))) for n in range(1, 400, 40)} == {
        401
    }


def test_what_was_lowered_is_not_raised_again(setting: FedHaproxy) -> None:
    """HAProxy's own word of what may be missing is this agent's of before."""
    now = int(time.time())
    token = setting.token(b"a" * 16)
    setting.sink.hold_all_since(now + 3600)
    setting.sink.vouch(suspension_aware_clock())
    assert setting.status(token) == 503
    with setting.sink._lock:
        setting.sink._drop()
        setting.sink._dropped = now  # as told while there was no connection
    setting.sink.tend()
    assert setting.sink.in_step
    assert setting.status(token) == 200


def test_a_copy_that_was_read_in_part_is_not_gone_by(
    setting: FedHaproxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new agent whose HAProxy goes away in the middle has nothing of it to vouch for."""
    setting.sink.merge(
        [entry(bytes([number]) * 16, int(time.time()) + 600) for number in range(256)]
    )
    setting.sink.close()
    real = Runtime.entries

    def entries(runtime: Runtime, map_file: str) -> Iterator[tuple[str, str]]:
        if map_file == setting.files.shard(100):
            raise HaproxyUnavailable("gone")
        return real(runtime, map_file)

    with monkeypatch.context() as patched:
        patched.setattr(Runtime, "entries", entries)
        sink = setting.new_sink()
        sink.tend()
    assert 0 < len(sink) < 256
    assert not sink.save(RULES.max_staleness)
    setting.restart()
    for _ in until(10, "HAProxy in its agent's hands"):
        sink.tend()
        if sink._runtime is not None:
            break
    assert setting.status(setting.token(bytes([200]) * 16)) == 503


def test_a_new_agent_takes_over_what_is_there(setting: FedHaproxy) -> None:
    """Entries, salts, watermark and dropped expiry outlive the agent, and merge with its own."""
    now = int(time.time())
    subject = to_record(Entry.subject("someone", 5, now + 300), SALT)
    setting.sink.merge([entry(b"a" * 16, now + 300), subject])
    setting.sink.raise_watermark(now - 100)
    setting.sink.close()
    setting.new_sink().tend()
    assert len(setting.sink) == 2
    assert setting.status(setting.token(b"b" * 16, "other")) == 200
    setting.sink.vouch(None)  # what its follower says as it begins
    setting.sink.begin(bytes(32))
    setting.sink.merge([to_record(Entry.subject("someone", 3, now + 400), SALT)])
    assert setting.status(setting.token(b"b" * 16, "other")) == 200
    for jti, sub_ver, status in ((b"a" * 16, 9, 401), (b"b" * 16, 4, 401), (b"b" * 16, 5, 200)):
        assert setting.status(setting.token(jti, sub_ver=sub_ver)) == status
    assert sorted(setting.held().values()) == [f"1/{now + 300}", f"5/{now + 400}"]


def test_other_settings_are_seen(setting: FedHaproxy) -> None:
    """An agent that was started with other settings says so and fills nothing."""
    other = HaproxyFiles(
        setting.files.directory, Rules(**{**_fields(RULES), "audience": "another"})
    )
    sink = HaproxySink(other, setting.haproxy.socket)
    sink.begin(SALT)
    assert not sink.in_step
    assert sink.why_reload is not None


def _fields(rules: Rules) -> dict[str, object]:
    return {name: getattr(rules, name) for name in rules.__slots__}


def test_what_haproxy_refuses_is_no_success(setting: FedHaproxy) -> None:
    """A command that fails raises, also in the middle of others."""
    runtime = Runtime(setting.haproxy.socket)
    good = f"add map {setting.files.shard(1)} x 1/1"
    with pytest.raises(HaproxyUnavailable):
        runtime.run([good, f"del map {setting.files.shard(1)} nothing", good])
    runtime.close()


def test_a_hundred_thousand_entries(setting: FedHaproxy) -> None:
    """A HAProxy that starts anew is filled within seconds, and closed meanwhile."""
    setting.sink.merge(entry(number.to_bytes(16, "little"), NEVER) for number in range(1, 100_001))
    revoked, token = setting.token((77_777).to_bytes(16, "little")), setting.token(bytes(16))
    setting.restart()
    assert setting.status(token) == 503
    begun = time.monotonic()
    for _ in until(60, "a filled HAProxy"):
        setting.sink.tend()
        if setting.sink.in_step:
            break
    assert time.monotonic() - begun < 30
    # On a busy machine that may have taken longer than the copy may be old.
    setting.sink.vouch(suspension_aware_clock())
    assert (setting.status(token), setting.status(revoked)) == (200, 401)


def answers_during_a_fill(setting: FedHaproxy) -> Counter[int]:
    """What a revoked token gets, asked all through the fill of a HAProxy that has just started.

    Its entry is the last that is put.
    """
    setting.sink.merge(entry(number.to_bytes(16, "little"), NEVER) for number in range(1, MANY))
    setting.sink.merge([entry(b"r" * 16, NEVER)])
    # As of now: what is put first would be believed.
    setting.sink.vouch(suspension_aware_clock())
    setting.restart()
    with asked_all_along(setting.haproxy, setting.token(b"r" * 16)) as answers:
        for _ in until(60, "a filled HAProxy"):
            setting.sink.tend()
            if setting.sink.in_step:
                break
    assert setting.status(setting.token(b"r" * 16)) == 401
    return answers


def test_nothing_revoked_passes_during_a_fill(setting: FedHaproxy) -> None:
    """Before the last entry is put HAProxy does not hear that it is in step."""
    answers = answers_during_a_fill(setting)
    assert set(answers) <= {503, 401}
    assert answers[503] >= 10


def _fill_state_first(self: HaproxySink, runtime: Runtime) -> None:
    self._greet(runtime)
    self._adopt_state(runtime)
    self._put_keys(runtime)
    self._put_state(runtime)
    runtime.run(self._differences(runtime))
    self._runtime = runtime


def test_a_fill_that_says_so_first_is_caught(
    setting: FedHaproxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutant that puts the state before the entries lets a revoked token pass meanwhile."""
    monkeypatch.setattr(HaproxySink, "_fill", _fill_state_first)
    assert answers_during_a_fill(setting)[200] >= 10


def test_directories_that_commands_cannot_name(tmp_path: Path) -> None:
    """A path with a space or a semicolon would end a command of the runtime API."""
    for name in ("a b", "a;b", "é"):
        with pytest.raises(ValueError, match="letters"):
            HaproxyFiles(tmp_path / name, RULES)
