"""Where the keys of an issuer lie, by its settings: a directory, the database, or a token."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from keys import DirectoryStore, Generate, HeldKeyStore, KeyHolder, KeyStore, generate

from .crash_points import reach_in_directory_store
from .database import open_engine
from .settings import Mode, Settings, SettingsError, variable
from .sql_key_store import SqlKeyStore

if TYPE_CHECKING:
    from keys.pkcs11_token import Pkcs11Token


def open_key_store(
    settings: Settings, engine: sa.Engine | None = None, clock: Callable[[], float] = time.time
) -> KeyStore:
    """The key store of these settings; `engine` is the database's if one is open already.

    Raises `keys.KeyStoreError`, `SettingsError`.
    """
    token = open_token(settings)
    store = open_ring_store(settings, engine, token)
    if token is None:
        return store
    return HeldKeyStore(store, token, grace=settings.rotation_policy().handover, clock=clock)


def open_token(settings: Settings) -> Pkcs11Token | None:
    """The token that holds the signing keys, if one does; it is asked nothing yet.

    Raises `SettingsError`.
    """
    if settings.hsm_module is None or settings.hsm_token is None or settings.hsm_pin is None:
        return None
    try:
        from keys.pkcs11_token import Pkcs11Token
    except ModuleNotFoundError:
        raise SettingsError(
            f"{variable('hsm_module')} (hsm_module): needs pip install 'gatepass[hsm]'"
        ) from None
    return Pkcs11Token(
        settings.hsm_module,
        settings.hsm_token,
        settings.hsm_pin.get_secret_value(),
        settings.hsm_label,
    )


def key_maker(store: KeyStore) -> Generate:
    """What makes the keys of a store's ring."""
    return store.generate if isinstance(store, HeldKeyStore) else generate


def open_ring_store(
    settings: Settings, engine: sa.Engine | None, holder: KeyHolder | None
) -> SqlKeyStore | DirectoryStore:
    """Where the ring itself lies, wherever its private halves are. Raises `keys.KeyStoreError`."""
    hold = None if holder is None else holder.hold
    secret = settings.keys_passphrase
    development = settings.mode is Mode.DEVELOPMENT
    if settings.keys_dir is None or settings.key_store == "database":
        return SqlKeyStore(
            engine or open_engine(settings.database_url),
            secret,
            development=development,
            hold=hold,
        )
    return DirectoryStore(
        settings.keys_dir,
        secret,
        development=development,
        hold=hold,
        crash_point=reach_in_directory_store,
    )
