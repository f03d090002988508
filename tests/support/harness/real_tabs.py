"""Tabs that Chromium treats as a person's: out of sight behind another, and frozen when told so.

Playwright keeps its own tabs in sight whatever happens, and a tab in sight is never frozen.

    with BrowserWorld(directory, switches=(debugging(port),)) as world:
        bea = RealTabs(world, port)    # a visitor like the others, of Chromium's own profile
"""

from __future__ import annotations

from harness.browser import TIMEOUT_MS, BrowserWorld, Visitor


def debugging(port: int) -> str:
    """The switch that lets a second client drive Chromium."""
    return f"--remote-debugging-port={port}"


class RealTabs(Visitor):
    """A visitor whose tabs nobody keeps awake; one at a time, since there is one such profile."""

    def __init__(self, world: BrowserWorld, port: int) -> None:
        connect = world.playwright.chromium.connect_over_cdp
        self._browser = connect(f"http://127.0.0.1:{port}", no_defaults=True)
        [context] = self._browser.contexts
        context.set_default_timeout(TIMEOUT_MS)
        context.clock.install()
        super().__init__(world, world.person(), context)
        world.welcome(self)

    def close(self) -> None:
        """Leave nothing behind for the next one: no tab, no cookie, no storage."""
        pages = self.context.pages
        if pages:
            session = self.context.new_cdp_session(pages[0])
            what = {"origin": self.world.issuer, "storageTypes": "all"}
            session.send("Storage.clearDataForOrigin", what)
        for page in pages:
            page.close()
        self._browser.close()
