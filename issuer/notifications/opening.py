"""Wires the notifications of an issuer from its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from keys import Key

from ..audit.event import event_id
from ..resets import ResetSender, load_sender
from ..settings import Settings
from .backchannel import LogoutRoute, LogoutSender
from .delivery import Route, Sender
from .following import NotificationConsumer
from .mail import TARGET, Directory, Mailer, MailRoute, MailSender, ResetMailer, load_address_of
from .polling import Poller, Polls
from .posting import Poster
from .queue import DeliveryQueue
from .signals import SetMaker, SignalPusher, SignalRoute
from .signing import TokenSigner
from .webhook import WebhookRoute, WebhookSender
from .worker import DeliveryWorker, RetryRules, Watch

BY_MAIL = "smtp"
"""The `reset_sender` that mails the token."""


@dataclass(frozen=True, slots=True)
class Notifications:
    """Everything that tells others."""

    queue: DeliveryQueue
    consumer: NotificationConsumer
    worker: DeliveryWorker
    polls: Polls
    wanted: bool
    """Whether anybody is to be told of anything."""

    def start(self) -> None:
        """Begin to send, in the process that serves."""
        if self.wanted:
            self.worker.start()

    def end_streams(self) -> None:
        """Answer the polls that wait."""
        self.polls.end()

    def stop(self) -> None:
        self.polls.end()
        self.worker.stop()


def open_notifications(
    settings: Settings,
    engine: sa.Engine,
    accounts: Directory,
    signing_key: Callable[[], Key],
    clock: Callable[[], float],
    watch: Watch,
) -> Notifications:
    """Connects to nobody yet. Raises `SettingsError`."""
    given = settings.notifications
    timeout = given.attempt_timeout
    signer = TokenSigner(settings.issuer, signing_key)
    routes: list[Route] = []
    senders: dict[str, Sender] = {}
    pollers: dict[str, Poller] = {}
    for name, hook in given.webhooks.items():
        target = f"webhook:{name}"
        routes.append(WebhookRoute(target, hook.events))
        senders[target] = WebhookSender(
            Poster(hook.url, timeout=timeout, ca=hook.ca), hook.keys(), clock
        )
    if given.email is not None:
        mailer = Mailer(given.email, timeout=timeout)
        routes.append(MailRoute(given.email.events))
        senders[TARGET] = MailSender(
            mailer, accounts, load_address_of(given.email.address_of), settings.issuer
        )
    for name, receiver in given.signals.items():
        target = f"signals:{name}"
        routes.append(SignalRoute(target, receiver.events))
        maker = SetMaker(signer, receiver.audience)
        if receiver.push_url is not None:
            header = receiver.authorization
            senders[target] = SignalPusher(
                Poster(receiver.push_url, timeout=timeout, ca=receiver.ca),
                maker,
                None if header is None else header.get_secret_value(),
            )
        elif receiver.secret_sha256 is not None:
            pollers[name] = Poller(target, maker, receiver.secret_sha256.get_secret_value())
    logouts = {
        client_id: (f"logout:{client_id}", client.backchannel_logout_uri)
        for client_id, client in settings.clients.items()
        if client.backchannel_logout_uri is not None
    }
    for client_id, (target, uri) in logouts.items():
        senders[target] = LogoutSender(Poster(uri, timeout=timeout), signer, client_id, clock)
    if logouts:
        routes.append(LogoutRoute({name: target for name, (target, _) in logouts.items()}))
    queue = DeliveryQueue(engine, clock, max_age=given.max_age)
    polls = Polls(queue, pollers, wait=given.poll_wait, watch=watch)
    worker = DeliveryWorker(
        queue,
        senders,
        RetryRules(given.first_retry, given.longest_retry),
        # A host may have several addresses, and its name may take long to look up.
        lease=3 * timeout + 30,
        concurrency=given.concurrency,
        watch=watch,
    )

    def wake() -> None:
        worker.wake()
        polls.wake()

    consumer = NotificationConsumer(queue, routes, wake=wake, clock=clock, max_age=given.max_age)
    return Notifications(queue, consumer, worker, polls, wanted=bool(routes))


def open_reset_sender(settings: Settings, accounts: Directory) -> ResetSender | None:
    """Who delivers reset tokens; None where nobody does. Raises `SettingsError`."""
    email = settings.notifications.email
    if settings.reset_sender != BY_MAIL or email is None:
        return load_sender(settings.reset_sender)
    return ResetMailer(
        Mailer(email, timeout=settings.notifications.attempt_timeout),
        accounts,
        load_address_of(email.address_of),
        issuer=settings.issuer,
        page=email.reset_page,
        make_id=event_id,
    )
