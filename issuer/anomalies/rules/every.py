"""All rules that the settings have on."""

from __future__ import annotations

from ..places import Places
from ..settings import AnomalySettings
from .follower import Follower
from .guessing import Guessing
from .impossible_travel import ImpossibleTravel
from .moved import Moved
from .new_device import NewDevice
from .refresh_rate import RefreshRate
from .reuse import Reuse
from .rule import Rule
from .stuffing import StuffingEverywhere, StuffingFromNetwork
from .two_places import TwoPlaces


def rules_of(settings: AnomalySettings, places: Places) -> tuple[Rule, ...]:
    """In the order in which they are asked."""
    every: tuple[Rule, ...] = (
        Reuse(),
        Follower(settings.follower),
        TwoPlaces(settings.two_places),
        Moved(),
        RefreshRate(settings.refresh_rate),
        ImpossibleTravel(settings.impossible_travel, places),
        NewDevice(),
        Guessing(settings.guessing),
        StuffingFromNetwork(settings.stuffing),
        StuffingEverywhere(settings.stuffing),
    )
    return tuple(rule for rule in every if settings.on and settings.of(rule.name).on)
