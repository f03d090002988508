"""The second factors of an issuer, from its settings."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from ..settings import Settings, SettingsError, variable
from .factors import Factors
from .passkeys import RelyingParty
from .sealing import FactorSeal
from .sql_factors import SqlFactors


def open_factors(settings: Settings, engine: sa.Engine, clock: Callable[[], float]) -> Factors:
    """Connects to nothing. Raises `SettingsError`."""
    given = settings.factors
    rp_id = given.relying_party(settings.issuer)
    relying_party = None
    if rp_id is not None:
        origins = sorted({settings.issuer, *settings.origins_of(None)})
        relying_party = RelyingParty(rp_id, origins, given.name)
        if not relying_party.origins:
            raise SettingsError(
                f"{variable('factors__rp_id')} (factors.rp_id): no page's origin is of that domain"
            )
    return Factors(
        SqlFactors(engine),
        FactorSeal(settings.keys_passphrase),
        relying_party,
        name=given.name,
        clock=clock,
    )
