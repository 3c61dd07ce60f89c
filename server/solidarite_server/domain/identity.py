"""Who calls, and what that identity may do: a source by its certificate, a portal or an agent by its token."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a caller is. The value is what a token says, and what the audit trail shows."""

    SOURCE = "source"
    """A payroll or benefit system, known by its certificate (mTLS)."""
    PORTAIL = "portail"
    """A front end acting for one household: its token names the dossier."""
    AGENT = "agent"
    """A caseworker, an analyst or a batch of the body that runs the service."""
    DEVELOPPEMENT = "developpement"
    """Anybody on this machine, when no identity is configured."""


class Scope(Enum):
    """What a token allows, by group of RPCs."""

    RECORDS_WRITE = "records.write"
    RECORDS_READ = "records.read"
    FOYERS_WRITE = "foyers.write"
    FOYERS_READ = "foyers.read"
    DECLARATIONS_READ = "declarations.read"
    DECLARATIONS_WRITE = "declarations.write"
    DECLARATIONS_DECIDE = "declarations.decide"
    ENTITLEMENTS_READ = "entitlements.read"
    ENTITLEMENTS_COMPUTE = "entitlements.compute"
    CAMPAIGNS_READ = "campaigns.read"
    CAMPAIGNS_RUN = "campaigns.run"
    SIMULATIONS_RUN = "simulations.run"


class BenefitScope(Enum):
    """Benefits whose amounts a token may see; the names in a token, with the numbers of the contract."""

    RSA = ("benefit.rsa", 1)
    PRIME_ACTIVITE = ("benefit.prime_activite", 2)


SOURCE_URN = "urn:solidarite:source:"
"""Beginning of the URI that names a source in the subjectAltName of its certificate; without one, the CN does."""
ALL_SCOPES = frozenset(Scope)
ALL_BENEFITS = frozenset(BenefitScope)


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller whose credential was accepted."""

    kind: Kind
    name: str
    """The source_id of a source, the subject of a token. Never a citizen's name."""
    scopes: frozenset[Scope]
    benefits: frozenset[BenefitScope] = ALL_BENEFITS
    dossier: str | None = None
    """The only dossier that it may see; None: any."""
    purpose: str = ""
    """Why it reads, for the audit trail; empty, what the RPC is for."""

    @property
    def actor(self) -> str:
        """As the audit trail names it."""
        return f"{self.kind.value}:{self.name}"


def development_identity() -> Identity:
    """The one identity of a server that asks for none: everything is allowed, on this machine only."""
    return Identity(Kind.DEVELOPPEMENT, "local", ALL_SCOPES)


def source_identity(source_id: str) -> Identity:
    """A source known by its certificate."""
    return Identity(Kind.SOURCE, source_id, frozenset({Scope.RECORDS_WRITE}), frozenset())
