"""The table of rights: which identity may call which RPC, on whose data, and what the audit trail keeps of it.

A test compares it with the contract: an RPC without a row fails the build.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from solidarite_server.domain.errors import PermissionRefused
from solidarite_server.domain.identity import ALL_BENEFITS, Identity, Kind, Scope


class Owner(Enum):
    """Whose data a request touches."""

    NOBODY = "nobody"
    """Nothing that is kept: the contract, a calculation on what the request brings."""
    SOURCE = "source"
    """The source that the request names: it must be the caller."""
    DOSSIER = "dossier"
    """The dossier that the request names: a caller bound to another one is answered as if it did not exist."""
    EVERYBODY = "everybody"
    """Many dossiers, or one that the request does not name: never for a caller bound to one dossier."""


@dataclass(frozen=True, slots=True)
class Right:
    """A row of the table."""

    kinds: frozenset[Kind]
    scope: Scope | None
    owner: Owner
    field: str = ""
    """Path in the request of the source or the dossier."""
    action: str = ""
    """What the audit trail calls it; empty: it keeps no line (or the use case writes its own)."""
    purpose: str = ""
    """Why, unless the token says more."""
    entries: str = ""
    """Repeated field of the request whose entries each name a dossier: the audit trail keeps a line for each."""
    changes: bool = False
    """It changes something: the audit line is durable before anything is done, or with it."""
    line_with_change: bool = False
    """The handler commits the audit line together with what it changes."""
    creates: bool = False
    """It makes the dossier that it names: none is unknown to it, and another than the caller's is refused as such."""
    both_benefits: bool = False
    """The answer mixes RSA and prime d'activité: a token limited to one of them is refused."""


_SOURCE = frozenset({Kind.SOURCE})
_AGENT = frozenset({Kind.AGENT})
_PORTAL = frozenset({Kind.PORTAIL, Kind.AGENT})
_ANY = frozenset({Kind.SOURCE, Kind.PORTAIL, Kind.AGENT})
_NUMERO = "numero_allocataire"
_INSTRUCTION = "instruction du droit"


def _read(scope: Scope, action: str, purpose: str = "consultation", *, both_benefits: bool = False) -> Right:
    return Right(_PORTAL, scope, Owner.DOSSIER, _NUMERO, action, purpose, both_benefits=both_benefits)


def _foyers(owner: Owner, field: str, action: str, purpose: str, entries: str = "") -> Right:
    kinds, scope = _AGENT, Scope.FOYERS_WRITE
    return Right(
        kinds, scope, owner, field, action, purpose, entries, changes=True, line_with_change=True, creates=True
    )


def _change(kinds: frozenset[Kind], scope: Scope, action: str, purpose: str) -> Right:
    return Right(kinds, scope, Owner.DOSSIER, _NUMERO, action, purpose, changes=True, line_with_change=True)


RIGHTS: Mapping[str, Right] = {
    "solidarite.v1.ResourceRecordService/StreamResourceRecords": Right(
        _SOURCE, Scope.RECORDS_WRITE, Owner.SOURCE, "source_id"
    ),
    "solidarite.v1.ResourceRecordService/GetIngestionPosition": Right(
        _SOURCE, Scope.RECORDS_WRITE, Owner.SOURCE, "source_id"
    ),
    # The person is named by a NIR: the use case writes the audit line, with the pseudonym.
    "solidarite.v1.ResourceRecordService/ListResourceRecords": Right(_AGENT, Scope.RECORDS_READ, Owner.EVERYBODY),
    "solidarite.v1.FoyerService/UpsertFoyer": _foyers(
        Owner.DOSSIER, f"foyer.{_NUMERO}", "UPSERT_FOYER", "tenue du dossier"
    ),
    "solidarite.v1.FoyerService/StreamFoyers": _foyers(
        Owner.EVERYBODY, "", "STREAM_FOYERS", "tenue des dossiers", "foyers"
    ),
    "solidarite.v1.FoyerService/GetFoyer": _read(Scope.FOYERS_READ, "GET_FOYER"),
    "solidarite.v1.DeclarationService/PrefillDeclaration": _read(
        Scope.DECLARATIONS_READ, "PREFILL_DECLARATION", "préremplissage"
    ),
    # The history tells the differences of both benefits in words.
    "solidarite.v1.DeclarationService/GetDeclaration": _read(
        Scope.DECLARATIONS_READ, "GET_DECLARATION", both_benefits=True
    ),
    "solidarite.v1.DeclarationService/WatchDeclaration": _read(
        Scope.DECLARATIONS_READ, "WATCH_DECLARATION", "suivi de la déclaration"
    ),
    "solidarite.v1.DeclarationService/AmendDeclaration": _change(
        _PORTAL, Scope.DECLARATIONS_WRITE, "AMEND_DECLARATION", "déclaration du foyer"
    ),
    "solidarite.v1.DeclarationService/SubmitDeclaration": _change(
        _PORTAL, Scope.DECLARATIONS_WRITE, "SUBMIT_DECLARATION", "déclaration du foyer"
    ),
    "solidarite.v1.DeclarationService/DecideRectification": _change(
        _AGENT, Scope.DECLARATIONS_DECIDE, "DECIDE_RECTIFICATION", _INSTRUCTION
    ),
    "solidarite.v1.DeclarationService/ReviseDeclaration": _change(
        _AGENT, Scope.DECLARATIONS_DECIDE, "REVISE_DECLARATION", _INSTRUCTION
    ),
    "solidarite.v1.EntitlementService/ComputeEntitlements": Right(_PORTAL, Scope.ENTITLEMENTS_COMPUTE, Owner.NOBODY),
    # One column a benefit: there is no leaving one out.
    "solidarite.v1.EntitlementService/StreamEntitlements": Right(
        _PORTAL, Scope.ENTITLEMENTS_COMPUTE, Owner.NOBODY, both_benefits=True
    ),
    "solidarite.v1.EntitlementService/GetEntitlements": _read(Scope.ENTITLEMENTS_READ, "GET_ENTITLEMENTS"),
    "solidarite.v1.CampaignService/RunCampaign": Right(
        _AGENT, Scope.CAMPAIGNS_RUN, Owner.EVERYBODY, "", "RUN_CAMPAIGN", "campagne", changes=True, both_benefits=True
    ),
    "solidarite.v1.CampaignService/GetCampaign": Right(
        _AGENT, Scope.CAMPAIGNS_READ, Owner.EVERYBODY, both_benefits=True
    ),
    "solidarite.v1.CampaignService/RunControls": Right(
        _AGENT, Scope.CAMPAIGNS_RUN, Owner.EVERYBODY, "", "RUN_CONTROLS", "contrôle", both_benefits=True
    ),
    "solidarite.v1.SimulationService/GeneratePopulation": Right(_AGENT, Scope.SIMULATIONS_RUN, Owner.NOBODY),
    "solidarite.v1.SimulationService/CompareReform": Right(_AGENT, Scope.SIMULATIONS_RUN, Owner.NOBODY),
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Right(_ANY, None, Owner.NOBODY),
}
"""By full name of the RPC."""

PUBLIC = frozenset({"grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"})
"""What answers without an identity: supervisors and balancers have none."""


def check(right: Right, identity: Identity) -> None:
    """PermissionRefused unless that identity may call that RPC at all. The data come after: see `owns`."""
    if identity.kind is Kind.DEVELOPPEMENT:
        return
    if identity.kind not in right.kinds:
        accepted = " ou ".join(sorted(kind.value for kind in right.kinds))
        raise PermissionRefused(f"Cet appel est réservé à une identité : {accepted}.")
    if right.scope is not None and right.scope not in identity.scopes:
        raise PermissionRefused(f"Ce jeton ne porte pas le droit {right.scope.value} : demandez-en un qui le porte.")
    if right.both_benefits and identity.benefits != ALL_BENEFITS:
        raise PermissionRefused(
            "Cet appel montre le RSA et la prime d'activité : demandez un jeton qui porte les deux prestations."
        )
    if right.owner is Owner.EVERYBODY and identity.dossier is not None:
        raise PermissionRefused("Cet appel porte sur plusieurs dossiers : ce jeton n'en ouvre qu'un.")


def owns(right: Right, identity: Identity, named: str) -> bool:
    """Whether the source or the dossier that a request names is one that the caller may touch."""
    if identity.kind is Kind.DEVELOPPEMENT:
        return True
    if right.owner is Owner.SOURCE:
        return named == identity.name
    return identity.dossier is None or named == identity.dossier
