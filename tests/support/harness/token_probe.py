"""A look for tokens wherever a page could show or leave one: address, storage, document, caches.

tokens = Tokens(ann)
tab = ann.signed_in()
tokens.are_not_in(tab)
"""

from __future__ import annotations

from harness.browser import Visitor
from playwright.sync_api import Page, Request, Response

GRANTING = ("/login", "/refresh", "/password")

SEEN = """
async () => {
  const seen = [
    document.cookie, document.referrer, location.href, window.name, document.title,
    JSON.stringify(history.state), JSON.stringify({...localStorage}),
    JSON.stringify({...sessionStorage}), document.documentElement.outerHTML,
  ];
  for (const field of document.querySelectorAll("input, textarea, select")) seen.push(field.value);
  const asked = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  for (const {name} of await indexedDB.databases()) {
    const database = await asked(indexedDB.open(name));
    seen.push(name);
    for (const store of database.objectStoreNames) {
      const records = database.transaction(store).objectStore(store);
      const keys = await asked(records.getAllKeys());
      const values = await asked(database.transaction(store).objectStore(store).getAll());
      seen.push(store, JSON.stringify([keys, values]));
    }
    database.close();
  }
  for (const name of await caches.keys()) {
    const cache = await caches.open(name);
    for (const request of await cache.keys()) {
      const answer = await cache.match(request);
      seen.push(name, request.url, JSON.stringify([...request.headers, ...answer.headers]));
      seen.push(await answer.text());
    }
  }
  return seen;
}
"""


class Tokens:
    """Every token that a visitor's browser is given from now on."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._answers: list[Response] = []
        self.access: set[str] = set()
        """The signatures of access tokens; the rest of each is not secret by itself."""
        self.refresh: set[str] = set()
        """The encrypted parts of refresh tokens."""
        self._addresses: list[str] = []
        visitor.context.on("request", self._ask)
        visitor.context.on("response", self._note)

    def _ask(self, request: Request) -> None:
        self._addresses.append(request.url)

    def _note(self, answer: Response) -> None:
        if answer.url.endswith(GRANTING) and answer.request.method == "POST":
            self._answers.append(answer)

    def gather(self) -> None:
        """Read what has been answered so far; an answer cannot be read once its page has gone."""
        while self._answers:
            answer = self._answers.pop()
            if answer.ok:
                self.access.add(answer.json()["access_token"].rpartition(".")[2])
        for value in self._visitor.cookies().values():
            if value.count(".") == 4:
                self.refresh.add(value.split(".")[3])

    def found_in(self, page: Page) -> set[str]:
        """Which of them a page shows anywhere, or any page has asked for."""
        self.gather()
        text = "\n".join([*self._addresses, *page.evaluate(SEEN)])
        return {token for token in self.access | self.refresh if token in text}

    def are_not_in(self, *pages: Page) -> None:
        """None of them is anywhere in these pages."""
        for page in pages:
            assert self.found_in(page) == set(), page.url
