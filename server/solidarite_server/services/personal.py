"""What is held on one person: shown to them, erased; and everything purged at the end of its time, to the day."""

from __future__ import annotations

import json
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from solidarite_server.domain.foyer import Foyer, Role
from solidarite_server.domain.month import Month
from solidarite_server.ports import AuditLine, Store, StoredFoyer
from solidarite_server.services import codec
from solidarite_server.services.calendar import start_of

_EPOCH = date(1970, 1, 1)


def export_person(store: Store, person: bytes, trace: str) -> dict[str, Any]:
    """All that is held on a person, ready for JSON; no other member's pseudonym.

    Of a dossier, what was known or done while its version in force named them: what a household became after they left
    is not theirs (GDPR, article 15, paragraph 4).
    """
    stays = {numero: _Stay.of(store, numero, person) for numero in store.dossiers_of(person)}
    return {
        "ressources": [
            {
                "source": held.record.source_id,
                "version": held.record.version,
                "declarant": held.record.declarant,
                "numero_contrat": held.record.numero_contrat,
                "nature": held.record.nature.name,
                "date_versement": held.record.date_versement.isoformat(),
                "mois_rattachement": str(held.record.mois_rattachement),
                "montant_net_social_centimes": held.record.montant_net_social_cents,
                "mode": held.record.mode.name,
                "connu_le": _instant(held.known_at_us),
                "compte": held.effective,
            }
            for held in store.records_of([person])
        ],
        "dossiers": [_exported(store, numero, stay, person) for numero, stay in stays.items()],
        "consultations": [
            {"le": _instant(line.at_us), "par": line.actor, "action": line.action, "motif": line.purpose}
            for line in store.audit_lines()
            if line.subject == trace or (line.subject in stays and stays[line.subject].at(line.at_us))
        ],
    }


@dataclass(frozen=True, slots=True)
class _Stay:
    """When a person was in a dossier: its versions, and which of them name the person."""

    versions: tuple[StoredFoyer, ...]
    named: tuple[bool, ...]

    @classmethod
    def of(cls, store: Store, numero: str, person: bytes) -> _Stay:
        versions = tuple(store.foyer_versions(numero))
        read = (codec.loads(Foyer, version.payload) for version in versions)
        return cls(versions, tuple(any(m.pseudonyme == person for m in foyer.membres) for foyer in read))

    def at(self, instant_us: int) -> bool:
        """Whether the version in force then, or the first one kept when it is over its time, names the person."""
        place = bisect_right([version.known_at_us for version in self.versions], instant_us)
        return self.named[max(place - 1, 0)]


def _exported(store: Store, numero: str, stay: _Stay, person: bytes) -> dict[str, Any]:
    declarations = {
        mois: [event for event in store.events(numero, mois) if stay.at(event.known_at_us)]
        for mois in store.declared_months(numero)
    }
    return {
        "numero_allocataire": numero,
        "versions": [
            {"connue_le": _instant(version.known_at_us), "dossier": _shown(version.payload, person)}
            for version, named in zip(stay.versions, stay.named, strict=True)
            if named
        ],
        "declarations": [
            {
                "mois": str(mois),
                "evenements": [
                    {"le": _instant(event.known_at_us), "nature": event.kind, "contenu": json.loads(event.payload)}
                    for event in events
                ],
            }
            for mois, events in declarations.items()
            if events
        ],
        # The store does not know when a campaign ran: those of a household left may be of after.
        "campagnes": [
            {"campagne": campaign, "rsa_centimes": row.rsa_cents, "prime_activite_centimes": row.prime_activite_cents}
            for campaign, row in (store.campaign_rows_of(numero) if stay.named[-1] else ())
        ],
    }


def _shown(payload: bytes, person: bytes) -> dict[str, Any]:
    """A dossier without pseudonyms: a mark says which member is the person concerned."""
    read: dict[str, Any] = json.loads(payload)
    for membre in read.get("membres", ()):
        membre["personne_concernee"] = membre.pop("pseudonyme", None) == person.hex()
    return read


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did."""

    records: int
    dossiers: tuple[str, ...]
    """Erased whole: the person was their allocataire."""
    unlinked: tuple[str, ...]
    """Kept for the others of the household: nothing in them leads to the person any more."""


def erase_person(store: Store, person: bytes, line: AuditLine) -> Erased:
    """Remove what is held on a person; the audit line comes first, and stays.

    StoreUnavailable when all is removed, but a long read keeps the file from being overwritten: to be done again.
    """
    store.write_audit([line])
    erased, unlinked = [], []
    for numero in store.dossiers_of(person):
        versions = store.foyer_versions(numero)
        read = [codec.loads(Foyer, version.payload) for version in versions]
        if any(m.pseudonyme == person and m.role is Role.ALLOCATAIRE for foyer in read for m in foyer.membres):
            store.erase_dossier(numero)
            erased.append(numero)
            continue
        changed = [
            StoredFoyer(codec.dumps(_without(foyer, person)), version.known_at_us)
            for foyer, version in zip(read, versions, strict=True)
        ]
        store.replace_versions(numero, changed)
        unlinked.append(numero)
    records = store.erase_records(person)
    store.wipe()
    return Erased(records, tuple(erased), tuple(unlinked))


def _without(foyer: Foyer, person: bytes) -> Foyer:
    membres = (replace(m, pseudonyme=None) if m.pseudonyme == person else m for m in foyer.membres)
    return replace(foyer, membres=tuple(membres))


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept, in months: through the same day that many months later."""

    records: int = 36
    declarations: int = 36
    audit: int = 12


def apply_retention(store: Store, retention: Retention, today: date, actor: str) -> Mapping[str, int]:
    """Remove what is over its time on that day; how many of each. The audit keeps a line of it.

    StoreUnavailable as for an erasure.
    """
    records, declarations, audit = (
        months_before(today, months) for months in (retention.records, retention.declarations, retention.audit)
    )
    store.write_audit([AuditLine(actor, "RETENTION", "*", f"au {today.isoformat()}")])
    removed = {
        "enregistrements": store.purge_records((records - _EPOCH).days),
        "événements de déclarations": store.purge_declarations(start_of(declarations), Month.of(declarations)),
        "versions de dossiers": store.purge_dossiers(start_of(declarations)),
        "lignes d'audit": store.purge_audit(start_of(audit)),
    }
    store.wipe()
    return removed


def months_before(day: date, months: int) -> date:
    """The same day some months before, or the last one of that month.

    >>> months_before(date(2026, 3, 31), 1), months_before(date(2026, 1, 15), 12)
    (datetime.date(2026, 2, 28), datetime.date(2025, 1, 15))
    """
    month = Month.of(day) - months
    return date(month.year, month.month, min(day.day, monthrange(month.year, month.month)[1]))


def _instant(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).isoformat()
