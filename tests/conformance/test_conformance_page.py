"""docs/conformance.md says what the suite finds, and what it names is there."""

from __future__ import annotations

import re

import pytest
from conformance.registry import DOCUMENTS
from harness.conformance_page import PAGE, page, rows
from harness.conformance_rows import ROWS

from issuer.notifications.backchannel import ENDS
from issuer.parties import LONGEST_SESSION, Client

ROOT = PAGE.parent.parent
RESULTS = ("met", "not met: ", "not built: ", "not applicable: ")


def test_the_page_is_what_the_checks_and_rows_make() -> None:
    """Whoever changes a check or a row writes the page anew; its docstring says how."""
    assert PAGE.read_text("utf-8") == page()


@pytest.mark.parametrize("test", sorted({row.shown_by for row in ROWS if row.shown_by}))
def test_what_shows_a_clause_is_there(test: str) -> None:
    """Each test that a row names exists under that name."""
    path, _, name = test.partition("::")
    assert re.search(rf"^ *(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE)


def test_every_row_says_why() -> None:
    """A clause is met by something that is named, or has a reason."""
    everything = rows()
    assert {row.document for row in everything} == set(DOCUMENTS)
    for row in everything:
        assert row.result.startswith(RESULTS), row
        assert row.shown_by or row.result != "met", row


def test_the_documented_options_are_those_of_the_command() -> None:
    """No option is documented that the command does not have."""
    source = (ROOT / "tests" / "conformance" / "pack" / "__main__.py").read_text("utf-8")
    documented = set(re.findall(r"`(--[a-z-]+)`| (--[a-z-]+) ", PAGE.read_text("utf-8")))
    for option in {first or second for first, second in documented} - {"--login-path"}:
        assert f'"{option}"' in source, option
    assert '("login", "/login")' in source


def test_the_session_limits_are_documented() -> None:
    """docs/sessions.md has the defaults in force, and what they are measured by (ASVS 7.1.1)."""
    text = (PAGE.parent / "sessions.md").read_text("utf-8")
    client = Client(audience="api")
    assert f"| {client.idle // 60} minutes |" in text
    assert f"| {client.absolute // 3600} hours |" in text
    assert "NIST SP 800-63B-4" in text
    assert LONGEST_SESSION == 30 * 86_400


def test_how_sessions_elsewhere_end_is_documented() -> None:
    """docs/notifications.md says of what ends here a client with sessions of its own is told."""
    text = (PAGE.parent / "notifications.md").read_text("utf-8")
    table = [re.split(r"\s*\|\s*", line)[1:-1] for line in text.splitlines() if line[:2] == "| "]
    head = next(row for row in table if row[0] == "Event")
    assert head[-1] == "Back-channel logout"
    told = {row[0].strip("`") for row in table if len(row) == len(head) and row[-1] == "yes"}
    assert told == {kind.value for kind in ENDS}
    section = text.partition("## Back-channel logout")[2].partition("\n## ")[0]
    assert "One token means one session" in section
    assert "backchannel_logout_uri" in section


def test_the_browser_module_reads_no_token() -> None:
    """The client treats access tokens as opaque (RFC 9068 section 6): nothing decodes one."""
    sources = list((ROOT / "spa" / "src").glob("*.js"))
    assert sources
    for path in sources:
        assert not re.search(r"\batob\(|fromBase64|jwtDecode", path.read_text("utf-8")), path
