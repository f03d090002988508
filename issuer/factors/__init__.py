"""Second factors: codes of an authenticator app, passkeys, and recovery codes."""

from .factor import (
    Factor,
    FactorError,
    FactorRefused,
    FactorRequired,
    FactorUnreadable,
    GivenFactor,
    Kind,
)
from .factors import Factors
from .settings import FactorSettings

__all__ = [
    "Factor",
    "FactorError",
    "FactorRefused",
    "FactorRequired",
    "FactorSettings",
    "FactorUnreadable",
    "Factors",
    "GivenFactor",
    "Kind",
]
