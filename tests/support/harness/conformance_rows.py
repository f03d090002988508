"""What the pack cannot see from outside: what shows each clause, or why nothing does."""

from __future__ import annotations

from conformance.running import Row

KNOWN = {
    "asvs.ending_sessions_asks_again": "an access token of the last five minutes is enough",
    "nist_sessions.cookie_ends_with_the_browser": (
        "the cookie lasts until the session's absolute end, so that closing the browser logs nobody"
        " out; an idle end is in force meanwhile"
    ),
    "nist_sessions.content_names_the_session": (
        "the cookie alone names it; `Origin`, `Sec-Fetch-Site`, `Sec-Fetch-Dest` and"
        " `SameSite=Strict` are what keeps forgeries out"
    ),
}
"""Checks that Gatepass does not pass, and what it does instead."""

NO_REDIRECTS = "there is no authorization endpoint and no redirect"
NO_BFF = "it is about a back end for a front end; none is shipped"
NO_DPOP = "tokens are bearer tokens; DPoP is not built yet"

_ROWS: list[Row] = []


def _shown(document: str, number: str, level: str, what: str, test: str) -> None:
    _ROWS.append(Row(document, number, level, what, test, "met"))


def _without(document: str, number: str, level: str, what: str, result: str) -> None:
    _ROWS.append(Row(document, number, level, what, "", result))


def _idle(document: str, number: str, level: str, what: str, why: str) -> None:
    _without(document, number, level, what, f"not applicable: {why}")


# --- RFC 8725 ------------------------------------------------------------------------------------

_shown(
    *("RFC 8725", "3.2", "MUST", "Algorithms can be replaced while tokens are in use."),
    "tests/issuer/test_issuer_wiring.py::test_an_algorithm_is_replaced_without_a_gap",
)
_shown(
    *("RFC 8725", "3.2", "SHOULD", "RSA-PKCS1 v1.5 encrypts nothing."),
    "tests/attacks/test_advisories.py::test_cve_2016_6298_rsa1_5",
)
_without(
    *("RFC 8725", "3.2", "SHOULD", "ECDSA takes its nonce from the message (RFC 6979)."),
    "not met: PyJWT signs with OpenSSL's nonces, which are made of random bytes, key and message",
)
_shown(
    *("RFC 8725", "3.3", "MUST", "Of a nested JWT both layers are verified."),
    "tests/tokens/test_access_verifier.py::test_a_sealed_token_needs_its_audience",
)
_shown(
    *("RFC 8725", "3.4", "MUST", "ECDH-ES takes no point off its curve."),
    "tests/attacks/test_advisories.py::test_cve_2017_16007_invalid_curve",
)
_shown(
    *("RFC 8725", "3.6", "SHOULD NOT", "A compressed token is not unpacked."),
    "tests/attacks/test_advisories.py::test_cve_2024_28102_zip_bomb",
)
_shown(
    *("RFC 8725", "3.11", "MUST", "In a nested JWT the inner one says its type."),
    "tests/issuer/test_sealed_audience.py::test_only_the_audience_reads_its_tokens",
)
_shown(
    *("RFC 8725", "3.12", "MUST", "Tokens and the feed's messages do not pass for each other."),
    "tests/attacks/test_attack_verdicts.py::test_only_the_feeds_own_messages_pass_for_them",
)

# --- RFC 9068 ------------------------------------------------------------------------------------

_shown(
    *("RFC 9068", "2.1", "MUST", "RS256 is among the algorithms of issuer and verifier."),
    "tests/issuer/test_issuer_wiring.py::test_each_algorithm_serves_alone",
)
_idle(
    *("RFC 9068", "2.2.2", "SHOULD", "Attributes of a person have their registered claim names."),
    "tokens hold none",
)
_shown(
    *("RFC 9068", "2.2.3", "MUST", "A scope means something to the audience: it is the client's."),
    "tests/issuer/test_login.py::test_the_access_token_says_who_where_and_until_when",
)
_shown(
    *("RFC 9068", "2.2.3.1", "SHOULD", "Roles are in `roles`."),
    "tests/issuer/test_login.py::test_the_access_token_says_who_where_and_until_when",
)
_shown(
    *("RFC 9068", "3", "MUST NOT", "No token leaves open for which resource its scope is meant."),
    "tests/issuer/test_login.py::test_the_access_token_says_who_where_and_until_when",
)
_idle(
    *("RFC 9068", "3", "SHOULD", "`aud` is the `resource` that was asked for."),
    "no request takes one: a client has one audience",
)
_idle(
    *("RFC 9068", "3", "SHOULD", "Scopes of several resources in one request are refused."),
    "no request takes a scope: a client has its own",
)
_shown(
    *("RFC 9068", "4", "SHOULD", "Where encryption was agreed, a token in clear is refused."),
    "tests/tokens/test_access_verifier.py::test_an_audience_may_insist_on_sealed_tokens",
)
_shown(
    *("RFC 9068", "4", "SHOULD", "Scope and roles take part in the decision."),
    "tests/gateway/test_guards.py::test_a_token_that_is_not_enough_is_forbidden",
)
_idle(
    *("RFC 9068", "5", "advice", "No client chooses a `sub` that is a person's."),
    "every token is a person's, and `sub` is a random identifier",
)
_shown(
    *("RFC 9068", "6", "MUST NOT", "The client does not look into the access token."),
    "tests/conformance/test_conformance_page.py::test_the_browser_module_reads_no_token",
)

# --- RFC 9700 ------------------------------------------------------------------------------------

for _number, _level, _what in (
    ("2.1", "MUST", "Redirect URIs are compared exactly."),
    ("2.1", "MUST", "The redirection endpoint is kept from CSRF."),
    ("2.1", "REQUIRED", "Clients of several issuers keep them apart (mix-up)."),
    ("2.1.1", "MUST", "PKCE is supported, enforced, and can be detected."),
    ("2.1.1", "MUST", "Codes are neither injected nor misused."),
    ("2.6", "MUST NOT", "Authorization responses travel encrypted alone."),
    ("3", "MUST NOT", "The authorization endpoint has no CORS."),
    ("4.1.3", "MUST", "Redirect URIs are compared as strings."),
    ("4.4.2", "MUST", "Mix-up is prevented."),
    ("4.5.3", "MUST", "Code injection is prevented."),
    ("4.7.1", "MUST", "The redirection endpoint is kept from CSRF."),
    ("4.8.2", "MUST", "PKCE cannot be downgraded."),
    ("4.11.1", "MUST NOT", "Clients are no open redirectors."),
    ("4.17.2", "MUST", "Messages between windows go to the registered origin alone."),
):
    _idle("RFC 9700", _number, _level, _what, NO_REDIRECTS)
for _number, _what in (
    ("2.2.1", "Access tokens are sender-constrained."),
    ("4.9.3", "A resource server cannot use a token elsewhere: it is sender-constrained."),
    ("4.10", "Stolen access tokens are of no use: they are sender-constrained."),
):
    _without("RFC 9700", _number, "SHOULD", _what, f"not built: {NO_DPOP}")
_without(
    *("RFC 9700", "2.4", "MUST NOT", "An app does not see the person's password."),
    "not met: there is no password grant, but a first party's app posts the password to `/login`"
    " itself",
)
_without(
    *("RFC 9700", "2.5", "RECOMMENDED", "Clients authenticate with asymmetric cryptography."),
    "not met: confidential clients have a secret (`client_secret_basic`)",
)
_shown(
    *("RFC 9700", "2.5", "SHOULD", "A confidential client authenticates to log people in."),
    "tests/issuer/test_login.py::test_a_confidential_client_authenticates_to_log_people_in",
)
_idle(
    *("RFC 9700", "2.6", "SHOULD NOT", "Clients have no say in `client_id` or `sub`."),
    "clients are configured; none registers itself, and none has tokens without a person",
)
_shown(
    *("RFC 9700", "2.6", "RECOMMENDED", "TLS is used from end to end: production asks for it."),
    "tests/issuer/test_issuer_settings.py::test_production_refuses_what_is_for_a_developer",
)
_shown(
    *("RFC 9700", "4.9.3", "MUST", "Tokens are treated as secrets: no log holds one."),
    "tests/server/test_serve_start.py::test_production_story",
)
_shown(
    *("RFC 9700", "4.13", "MUST", "What a proxy says is believed of the deployment's own alone."),
    "tests/issuer/test_issuer_wiring.py::test_only_the_deployment_s_own_proxies_are_believed",
)
_shown(
    *("RFC 9700", "4.13", "MUST", "A client's own identity headers reach no API."),
    "tests/gateway/test_real_gateways.py::test_no_client_says_who_it_is",
)
_idle(
    *("RFC 9700", "4.14.2", "MUST", "Who gets refresh tokens is decided on the risk."),
    "it is the deployment's decision: idle and absolute end are settings of each client",
)
_idle(
    *("RFC 9700", "4.15.1", "SHOULD NOT", "No client can pass for a person."),
    "no token is issued to a client without a person",
)

# --- RFC 10017 -----------------------------------------------------------------------------------

for _number, _level, _what in (
    ("6.1.3.1", "MUST", "The back end is a confidential client and uses codes."),
    ("6.1.3.6", "MUST", "The back end forwards to listed APIs alone."),
):
    _idle("RFC 10017", _number, _level, _what, NO_BFF)
_idle(
    *("RFC 10017", "6.1.3.3.2", "SHOULD", "Where CORS is the defence, a header of its own is due."),
    "`Origin` and `Sec-Fetch-Site` are the defence",
)
_shown(
    *("RFC 10017", "6.1.3.3", "MUST", "A request that names no origin cannot use the cookie."),
    "tests/issuer/test_cookie_mode.py::test_only_own_pages_use_cookie_mode",
)
_shown(
    *("RFC 10017", "6.2.3.1", "MUST", "A token-mediating back end is a confidential client."),
    "tests/spa/test_front_ends_elsewhere.py::test_the_back_end_proves_which_client_it_is",
)
_shown(
    *("RFC 10017", "6.2.3.2", "MUST", "Its cookie is as the issuer's is."),
    "tests/spa/test_front_ends_elsewhere.py::test_the_back_end_keeps_its_promises",
)
_shown(
    *("RFC 10017", "6.2.3.3", "MUST", "It is kept from CSRF."),
    "tests/spa/test_front_ends_elsewhere.py::test_the_back_end_takes_its_own_pages_requests_alone",
)
_idle(
    *("RFC 10017", "6.2.2.3", "SHOULD NOT", "It hands out no token of a wider scope."),
    "a client has one scope",
)
for _number, _level, _what in (
    ("6.3.2.1", "MUST", "Apps in a browser use PKCE."),
    ("6.3.2.2", "MUST", "Their redirect URI is kept from CSRF."),
    ("6.3.3.2", "SHOULD NOT", "No request is granted without the person, or the client's proof."),
    ("6.3.3.2.1", "MUST", "Redirect URIs are registered and match exactly."),
    ("6.3.3.3", "MUST", "Origins of messages between windows are verified."),
):
    _idle("RFC 10017", _number, _level, _what, NO_REDIRECTS)
_idle(
    *("RFC 10017", "6.3.3.1", "MUST", "A secret that is shipped with an app proves nothing."),
    "apps are public clients and have none",
)
_without(
    *("RFC 10017", "7.3", "MUST", "Apps use a redirect-based flow."),
    "not met: a first party's app posts the password to `/login` itself; third parties' apps have"
    " no way to get tokens",
)
_idle(
    *("RFC 10017", "8.1", "NOT RECOMMENDED", "Scripts keep no tokens in cookies."),
    "the cookie is the server's, and no script reads it",
)
_idle(
    *("RFC 10017", "8.2", "MUST NOT", "A service worker shares no storage with the page."),
    "the module has none",
)
_shown(
    *("RFC 10017", "8.4", "advice", "The access token is kept in memory, and nowhere else."),
    "tests/spa/test_demo_secrets.py::test_no_token_is_ever_in_address_storage_or_document",
)
_idle(
    *("RFC 10017", "9.1", "SHOULD NOT", "An ID token says no more than the client needs."),
    "there are no ID tokens",
)
_without(
    *("RFC 10017", "9.2", "advice", "Tokens are sender-constrained."),
    f"not built: {NO_DPOP}",
)
_shown(
    *("RFC 10017", "9.4", "advice", "Apps of different origins cannot use each other's."),
    "tests/issuer/test_cross_origin.py::test_a_client_s_origin_uses_that_client_s_sessions_alone",
)

# --- RFC 7009 ------------------------------------------------------------------------------------

_shown(
    *("RFC 7009", "2", "MUST", "The endpoint is an https URL: production refuses another."),
    "tests/issuer/test_issuer_settings.py::test_production_refuses_what_is_for_a_developer",
)
_idle(
    *("RFC 7009", "2", "SHOULD", "What comes over http by mistake is revoked, too."),
    "in production nothing answers over http",
)
_shown(
    *("RFC 7009", "2.1", "says", "A confidential client proves who it is."),
    "tests/issuer/test_revoke_endpoint.py"
    "::test_the_token_of_a_confidential_client_needs_its_secret",
)
_shown(
    *("RFC 7009", "2.2.1", "says", "A kind that cannot be revoked is `unsupported_token_type`."),
    "tests/issuer/test_sealed_audience.py::test_what_the_issuer_cannot_read_is_never_acknowledged",
)
_shown(
    *("RFC 7009", "2.2.1", "MAY", "503 means that the token lives, and says when to try again."),
    "tests/issuer/test_discovery.py::test_a_redis_that_is_down_is_503_everywhere",
)
_idle(*("RFC 7009", "2.3", "MAY", "JSONP is offered."), "it is not offered: a GET revokes nothing")

# --- RFC 7662 ------------------------------------------------------------------------------------

_shown(
    *("RFC 7662", "2", "MUST", "The endpoint is behind TLS: production asks for it."),
    "tests/issuer/test_issuer_settings.py::test_production_refuses_what_is_for_a_developer",
)
_shown(
    *("RFC 7662", "4", "MUST", "TLS is 1.2 or newer."),
    "tests/demo/test_demo_tls.py::test_old_tls_is_refused",
)
_shown(
    *("RFC 7662", "4", "SHOULD", "A client must have the right to introspect."),
    "tests/issuer/test_introspect_endpoint.py::test_only_an_authenticated_client_may_ask",
)
_idle(
    *("RFC 7662", "5", "MUST", "Private information does not leak to resource servers."),
    "what is told is what the token says; of a person that is a random identifier",
)

# --- RFC 9449 ------------------------------------------------------------------------------------

for _number, _level, _what in (
    ("4.2", "MUST", "A proof is `dpop+jwt`, asymmetric, with its public key in the header."),
    ("4.2", "MUST", "A proof holds `jti`, `htm`, `htu`, `iat`, and `ath` at an API."),
    ("4.3", "MUST", "A request carries one proof."),
    ("4.3", "MUST", "The proof is one well-formed JWT with every claim."),
    ("4.3", "MUST", "Its algorithm is asymmetric and allowed."),
    ("4.3", "MUST", "Its signature verifies under its key, which is not a private one."),
    ("4.3", "MUST", "`htm` and `htu` are the request's."),
    ("4.3", "MUST", "`nonce` is the server's, where it gave one."),
    ("4.3", "MUST", "It was made within an acceptable window."),
    ("4.3", "MUST", "At an API `ath` is the token's hash, and the key is the token's."),
    ("5", "MUST", "Tokens for a proof are bound to its key; the type is `DPoP`."),
    ("5", "MUST", "A public client's refresh token is bound to the key."),
    ("5.1", "MAY", "Metadata name the algorithms of proofs."),
    ("6.1", "MUST", "The token names the key's thumbprint in `cnf.jkt`."),
    ("6.2", "MUST", "Introspection tells `cnf`."),
    ("7.1", "MUST", "A bound token without proof is refused, with a `DPoP` challenge."),
    ("7.2", "MUST", "A bound token is refused as a bearer token."),
    ("8", "MUST", "`use_dpop_nonce` comes with a nonce."),
    ("9", "MUST", "An API's nonce comes with its challenge."),
    ("11.1", "SHOULD", "A proof that comes again is refused."),
):
    _without("RFC 9449", _number, _level, _what, f"not built: {NO_DPOP}")

# --- ASVS 5 --------------------------------------------------------------------------------------

_shown(
    *("ASVS 5", "7.1.1", "L2", "Idle and absolute end are documented, and why they are so."),
    "tests/conformance/test_conformance_page.py::test_the_session_limits_are_documented",
)
_shown(
    *("ASVS 5", "7.1.2", "L2", "How many sessions an account may have is set and documented."),
    "tests/issuer/limits/test_session_cap.py::test_the_session_longest_without_activity_makes_room",
)
_shown(
    *("ASVS 5", "7.1.3", "L2", "How sessions elsewhere end with ours is documented."),
    "tests/conformance/test_conformance_page.py::test_how_sessions_elsewhere_end_is_documented",
)
_shown(
    *("ASVS 5", "7.4.2", "L1", "Disabling an account ends its sessions."),
    "tests/cli/test_cli_accounts.py::test_disable_and_enable",
)
_shown(
    *("ASVS 5", "7.4.4", "L2", "Every page of a person who is signed in has a way out."),
    "tests/spa/test_demo_keyboard.py::test_a_person_signs_in_moves_on_and_out_by_keyboard",
)
_shown(
    *("ASVS 5", "7.4.5", "L2", "An administrator ends a person's sessions."),
    "tests/cli/test_cli_accounts.py::test_end_every_session",
)
_shown(
    *("ASVS 5", "7.4.5", "L2", "An administrator ends everybody's sessions with a client."),
    "tests/cli/test_cli_revoking.py::test_client",
)
_shown(
    *("ASVS 5", "7.4.5", "L2", "He does both in the console, with his password given anew."),
    "tests/issuer/console/test_console_actions.py::test_everybodys_sessions_with_a_client_end",
)
_shown(
    *("ASVS 5", "7.5.3", "L3", "What is highly sensitive asks for one more factor."),
    "tests/issuer/policies/test_elevation_at_a_gateway.py"
    "::test_a_route_gets_what_it_wants_by_an_elevation",
)
_shown(
    *("ASVS 5", "7.5.3", "L3", "So does each change in the console."),
    "tests/issuer/console/test_console_access.py::test_every_change_needs_a_fresh_sign_in",
)
_shown(
    *("ASVS 5", "7.6.1", "L2", "Relying parties end sessions as documented."),
    "tests/issuer/notifications/test_backchannel_logout.py"
    "::test_a_client_is_told_that_its_session_ended",
)

# --- NIST SP 800-63B-4 ---------------------------------------------------------------------------

_shown(
    *("NIST SP 800-63B-4", "2.1.3", "SHOULD", "The overall timeout is 30 days or less."),
    "tests/conformance/test_conformance_page.py::test_the_session_limits_are_documented",
)
for _number, _what in (
    ("2.2.3", "At AAL2 it is 24 hours, and one hour of inactivity."),
    ("2.3.3", "At AAL3 it is 12 hours, and 15 minutes of inactivity."),
):
    _shown(
        *("NIST SP 800-63B-4", _number, "SHOULD", _what),
        "tests/issuer/policies/test_policy_settings.py::test_a_level_has_the_timeouts_of_the_standard",
    )
_idle(
    *("NIST SP 800-63B-4", "5.1", "SHALL", "Secrets come from an approved generator."),
    "they come from the operating system's; whether that is approved is the machine's matter",
)
_shown(
    *("NIST SP 800-63B-4", "5.1", "SHALL", "Secrets travel over a protected channel alone."),
    "tests/issuer/test_issuer_settings.py::test_production_refuses_what_is_for_a_developer",
)
_shown(
    *("NIST SP 800-63B-4", "5.1", "SHALL NOT", "A session does not fall back from https to http."),
    "tests/demo/test_demo_tls.py::test_cookie_mode_is_told_to_stay_on_https",
)
_shown(
    *("NIST SP 800-63B-4", "5.1", "SHALL NOT", "What remembers a browser replaces no login."),
    "tests/spa/test_demo_pages.py::test_at_the_absolute_end_the_session_ends",
)
_shown(
    *("NIST SP 800-63B-4", "5.2", "SHALL", "The timeouts in force are documented."),
    "tests/conformance/test_conformance_page.py::test_the_session_limits_are_documented",
)
_shown(
    *("NIST SP 800-63B-4", "5.2", "SHALL", "A relying party decides on reauthentication."),
    "tests/issuer/policies/test_elevation_at_a_gateway.py"
    "::test_a_route_gets_what_it_wants_by_an_elevation",
)
_shown(
    *("NIST SP 800-63B-4", "5.2", "MAY", "The person is warned, and can avert the idle end."),
    "tests/spa/test_demo_pages.py::test_the_idle_end_is_warned_of_and_can_be_averted",
)
_shown(
    *("NIST SP 800-63B-4", "5.3", "MAY", "Sessions are monitored for signs of fraud."),
    "tests/issuer/anomalies/test_anomaly_evaluation.py::test_each_rule_finds_what_no_other_does",
)

ROWS = tuple(_ROWS)
