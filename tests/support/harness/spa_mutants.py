"""Mistakes put into the browser module, each with the test that has to notice it."""

from __future__ import annotations

MUTANTS = {
    "nonsense is believed": ("channel.js", " || !isNews(news)", "", "nonsense between"),
    "storage may not throw": ("marks.js", "} catch {", "} finally {", "storage that throws"),
    "an odd answer is taken": (
        "issuer.js",
        "if (isAnswer(answer)) return answer;",
        "return answer;",
        "an answer that is not",
    ),
    "a hanging request is waited for": (
        "issuer.js",
        "TIMEOUT = 10_000",
        "TIMEOUT = 10_000_000",
        "a request that hangs",
    ),
    "a replaced session lives on": (
        "account.js",
        "if (before) await endReplaced(before);",
        "",
        "signing in anew",
    ),
    "news stays in storage": (
        "channel.js",
        "env.storage?.removeItem(key);",
        "",
        "the token never goes",
    ),
    "no lock": (
        "lock.js",
        "if (env.locks) return",
        "if (1) return task(); if (env.locks) return",
        "twelve tabs refresh one",
    ),
    "no lease": (
        "lock.js",
        "env.storage ? withLease(task, patience) : task()",
        "task()",
        "where nothing is forgiven",
    ),
    "a lease that is not looked at again": (
        "lock.js",
        "while (holder() !== owner) {",
        "for (let once = 1; once; once = 0) {",
        "where nothing is forgiven",
    ),
    "no look whether it is done": (
        "refresh.js",
        "now.token !== before?.token",
        "false",
        "do not refresh twelve",
    ),
    "a frozen holder keeps the lock": (
        "lock.js",
        "request({ steal: true });",
        "",
        "a frozen tab that holds",
    ),
    "a server's error is a logout": (
        "refresh.js",
        "error instanceof Refused && isOver(error)",
        "true",
        "no error but",
    ),
    "every refusal is a logout": (
        "refresh.js",
        "return status === 400 &&",
        "return true || status === 400 &&",
        "no error but",
    ),
    "a proxy's page is the issuer's word": (
        "issuer.js",
        "throw new Unreachable(status);\n  if",
        "throw new Refused(400, 'invalid_grant', '');\n  if",
        "no error but",
    ),
    "no pause between attempts": (
        "watch.js",
        "const calm = !refresher.waiting()",
        "const calm = true",
        "no error but",
    ),
    "an old answer ends a new session": (
        "refresh.js",
        "if ((holder.grant()?.sid ?? null) === (now?.sid ?? null)) {",
        "{ holder.end(null, 'ended');",
        "a login while an old refresh",
    ),
    "ended sessions come back": (
        "holder.js",
        'if (over.has(next.sid)) return "over";',
        "",
        "late news",
    ),
    "the token goes through storage": (
        "channel.js",
        "token: undefined,",
        "",
        "the token never goes",
    ),
    "the token goes anywhere": (
        "api.js",
        "!origins.has(address.origin)",
        "false",
        "the token goes to",
    ),
    "redirects are followed": (
        "api.js",
        'redirect: "manual"',
        'redirect: "follow"',
        "a redirect is never",
    ),
    "everything is sent twice after a 401": (
        "api.js",
        "IDEMPOTENT.has(method))",
        "true)",
        "a 401 that does not",
    ),
    "everything is sent twice after a 503": (
        "api.js",
        "SAFE.has(method)",
        "true",
        "a busy API",
    ),
    "every 401 refreshes": (
        "api.js",
        "clock.now() - forcedAt < NOT_AGAIN_WITHIN",
        "false",
        "an API that takes no token",
    ),
    "sleep is not noticed": (
        "clock.js",
        "slept += Math.max(gap, 0);",
        "",
        "a machine that slept",
    ),
    "the wall clock is believed": (
        "clock.js",
        "Math.max(gap, 0)",
        "gap",
        "a wall clock set back",
    ),
    "made-up events count": (
        "activity.js",
        "if (event.isTrusted) note()",
        "note()",
        "a person at work",
    ),
    "activity is not told": (
        "refresh.js",
        "{ active_ago: Math.max(0, began - active) / 1000 }",
        "{}",
        "staying active",
    ),
    "a page put away keeps its state": (
        "page.js",
        "holder.doubt();",
        "",
        "a page from the back",
    ),
    "a page brought back asks nobody": (
        "page.js",
        "restore();\n      },",
        "},",
        "a page from the back",
    ),
    "a logout offline is forgotten": (
        "account.js",
        'marks.setSession("leaving");\n',
        "",
        "logout without a network",
    ),
    "a reload shows the form first": (
        "session.js",
        "holder.restart();",
        "holder.end(null, 'none');",
        "a login gives",
    ),
    "the warning comes late": (
        "watch.js",
        "seconds * 1000);\n      const time",
        "seconds * 500);\n      const time",
        "idle time ends",
    ),
    "the end is left to the next request": (
        "watch.js",
        "if (Math.min(idle, absolute) <= 0) holder.doubt();",
        "",
        "past the idle end",
    ),
    "the session leads to the token": (
        "session.js",
        "    ready,\n",
        "    ready,\n    get grant() { return holder.grant(); },\n"
        "    toJSON: () => holder.grant(),\n",
        "the token is nowhere",
    ),
    "a logout waits for a frozen tab": (
        "account.js",
        "const PATIENCE = 2000",
        "const PATIENCE = 60_000",
        "a logout does not wait",
    ),
}
"""By what is wrong: file, what it says, what it says instead, how the test's name begins."""
