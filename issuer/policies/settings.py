"""What a client's settings say of its sessions: a policy, what is tighter, and what deviates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from .assurance import ONE_FACTOR
from .policy import KINDS, RULES, Policy, breach
from .presets import PRESETS

LONGEST_ELEVATION = 3600
_EVERYBODYS = "password_min_length"
"""The one rule that is kept by a setting of the issuer, and looked at there."""

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class ClientRules(BaseModel):
    """Rules of a client's sessions. Durations in seconds.

    With a policy, what is not given is as the policy says, and what is given may be tighter; what
    is looser has its reason in `deviates` (ASVS 7.1.1).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Before all others: each rule's check looks at these.
    policy: str | None = None
    """The name of a preset; none unless given."""
    deviates: dict[str, Reason] = {}
    """Rules that are looser than the policy's, each with the reason."""
    reauthenticate: int = Field(0, ge=0)
    """How old a login may be for a change of sensitive data; 0: however old."""
    acr: Literal["aal1", "aal2", "aal3"] = "aal1"
    """The level that a login has to reach: one factor, two, two with a key in hardware."""
    phishing_resistant: bool = False
    """Whether one factor has to withstand phishing: a passkey or a security key."""
    sessions: int = Field(0, ge=0, le=10_000)
    """Live sessions of one account at this client; 0: as many as `limits.sessions` allows."""
    binding: tuple[Literal["user_agent", "network"], ...] = ()
    """What has to stay as it was at the login; the session ends at a refresh where it does not."""
    elevation: int = Field(300, ge=1, le=LONGEST_ELEVATION)
    """How long an elevation lasts."""
    elevated_scopes: tuple[str, ...] = ()
    """Scopes that an elevation alone may have, beside `scopes`."""

    @property
    def preset(self) -> Policy | None:
        """The policy itself."""
        return None if self.policy is None else PRESETS[self.policy]

    @property
    def judges_sessions(self) -> bool:
        """Whether a refresh has to look at how its session began."""
        return self.acr != ONE_FACTOR or self.phishing_resistant or bool(self.binding)

    @model_validator(mode="before")
    @classmethod
    def _as_the_policy_says(cls, given: Any) -> Any:
        name = given.get("policy") if isinstance(given, dict) else None
        preset = PRESETS.get(name) if isinstance(name, str) else None
        if preset is None:
            return given
        of_policy = {rule: preset.rule(rule).value for rule in RULES if rule != _EVERYBODYS}
        # A maximum: who wants tokens to live longer than they do by default says so.
        usual = cls.model_fields["access_lifetime"].default
        of_policy["access_lifetime"] = min(usual, of_policy["access_lifetime"])
        return {**of_policy, **given}

    @field_validator("policy")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in PRESETS:
            raise ValueError(f"is none of {', '.join(PRESETS)}")
        return name

    @field_validator(*(rule for rule in RULES if rule != _EVERYBODYS), check_fields=False)
    @classmethod
    def _no_looser(cls, value: Any, info: ValidationInfo) -> Any:
        preset = PRESETS.get(info.data.get("policy") or "")
        name = info.field_name or ""
        if preset is not None and name not in info.data.get("deviates", {}):
            broken = breach(preset, name, value)
            if broken is not None:
                raise ValueError(broken)
        return value

    @model_validator(mode="after")
    def _deviates_truly(self) -> ClientRules:
        if self.deviates and self.preset is None:
            raise ValueError("deviates without a policy to deviate from")
        for name in self.deviates:
            if name not in RULES:
                raise ValueError(f"deviates names {name!r}, which is none of {', '.join(RULES)}")
            if name != _EVERYBODYS:
                self._require_looser(name, getattr(self, name))
        return self

    def _require_looser(self, name: str, value: Any) -> None:
        # A reason that has outlived its exception would cover the next one.
        if self.preset is not None and not KINDS[name].looser(value, self.preset.rule(name).value):
            raise ValueError(f"deviates names {name}, which is not looser than the policy's")

    def password_breach(self, min_length: int) -> str | None:
        """Why the issuer's `password_min_length` breaks this client's policy; None if it does not.

        Raises `ValueError` where `deviates` gives a reason for nothing.
        """
        if self.preset is None:
            return None
        if _EVERYBODYS in self.deviates:
            self._require_looser(_EVERYBODYS, min_length)
            return None
        return breach(self.preset, _EVERYBODYS, min_length)
