"""Stores whose pseudonyms are renewed a few at a time, between any two things that are done with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import pytest
from solidarite_server.domain.errors import Reason
from solidarite_server.domain.foyer import Foyer, Membre, Role
from solidarite_server.domain.record import Mode, ResourceRecord
from solidarite_server.ports import Store
from solidarite_server.services import codec
from solidarite_server.services.foyers import FoyerService
from solidarite_server.storage import personal, postgres, rewriting
from solidarite_server.storage.runs import LAST_PREFIX

from tests.integration.stores.records import JULY, batch, record

PEOPLE = tuple(bytes([17 * n]) * 16 for n in range(1, 13))
NUMBERS = tuple(f"{n:04d}" for n in range(9))


def small_slices(patch: pytest.MonkeyPatch) -> None:
    """A renewal of a handful of records or dossiers at a time."""
    # A twenty-fourth of all names, whatever the blocks: some slices hold nobody.
    patch.setattr(rewriting, "slice_end", lambda runs, first, rows: min(first + (1 << 64) // 24, LAST_PREFIX))
    patch.setattr(postgres, "_RENEWED_ROWS", 3)
    patch.setattr(personal, "_DOSSIER_VERSIONS", 2)


def household(numero: str, people: Sequence[bytes]) -> Foyer:
    """A household of one or two of the people."""
    roles = (Role.ALLOCATAIRE, Role.CONJOINT)
    members = (
        Membre(role.name.lower(), role, date(1990, 1, 1), person) for role, person in zip(roles, people, strict=False)
    )
    return Foyer(numero, tuple(members))


@dataclass
class Model:
    """What a store must hold, in dictionaries: versions of records, versions of dossiers."""

    records: dict[tuple[bytes, str], dict[int, ResourceRecord]] = field(default_factory=dict)
    dossiers: dict[str, list[Foyer]] = field(default_factory=dict)

    def send(self, store: Store, sent: Sequence[tuple[str, ResourceRecord]]) -> None:
        """Send records in one batch; the store says of them what the dictionaries say."""
        counts = {"accepted": 0, "replaced": 0, "unchanged": 0, "refused": 0}
        for name, one in sent:
            versions = self.records.setdefault((one.person, name), {})
            if one.version in versions:
                fate = "unchanged" if versions[one.version] == one else "refused"
            else:
                fate = "replaced" if versions else "accepted"
                versions[one.version] = one
            counts[fate] += 1
        (outcome,) = store.append([batch(*(one for _, one in sent))])
        assert (outcome.accepted, outcome.replaced, outcome.unchanged) == tuple(counts.values())[:3]
        assert [refusal.reason for refusal in outcome.refusals] == [Reason.RECORD_CONFLICT] * counts["refused"]

    def upsert(self, store: Store, foyer: Foyer) -> None:
        """Keep a dossier, new only when it says something new."""
        versions = self.dossiers.setdefault(foyer.numero_allocataire, [])
        changed = not versions or versions[-1] != foyer
        assert FoyerService(store).upsert([foyer]).changed == (changed,)
        if changed:
            versions.append(foyer)

    def forget(self, store: Store, person: bytes) -> None:
        """Remove every record of a person."""
        held = [versions for (owner, _), versions in self.records.items() if owner == person]
        assert store.erase_records(person) == sum(map(len, held))
        self.records = {key: versions for key, versions in self.records.items() if key[0] != person}

    def judge(self, store: Store, people: Sequence[bytes] = PEOPLE, numbers: Sequence[str] = NUMBERS) -> None:
        """A store gives what the dictionaries hold on these people and dossiers, no more and no less."""
        expected = {
            (one, version == max(versions) and one.mode is not Mode.ANNULATION)
            for (person, _), versions in self.records.items()
            if person in people
            for version, one in versions.items()
        }
        held = store.records_of(people)
        assert len(held) == len(expected)
        assert {(one.record, one.effective) for one in held} == expected
        of_july = store.records_of(people, JULY, JULY)
        assert {(one.record, one.effective) for one in of_july} == {
            (one, effective) for one, effective in expected if one.mois_rattachement == JULY
        }
        for numero in numbers:
            versions = self.dossiers.get(numero, [])
            found = [codec.loads(Foyer, version.payload) for version in store.foyer_versions(numero)]
            assert found == versions
            newest = store.foyer(numero)
            assert (newest and codec.loads(Foyer, newest.payload)) == (versions[-1] if versions else None)
        for person in people:
            naming = (
                numero
                for numero, versions in self.dossiers.items()
                if any(member.pseudonyme == person for version in versions for member in version.membres)
            )
            assert store.dossiers_of(person) == sorted(naming)


def acts(model: Model, draw: random.Random) -> list[Callable[[Store], None]]:
    """What may be done with a store, each with people and contents drawn anew."""
    person, numero, name = draw.choice(PEOPLE), draw.choice(NUMBERS), f"r{draw.randrange(4)}"
    others = [(f"r{draw.randrange(4)}", draw.choice(PEOPLE)) for _ in range(3)]
    version = 1 + max(model.records.get((person, name), {}), default=0)

    def made(version: int, cents: int, mode: Mode = Mode.INITIAL) -> ResourceRecord:
        # A correction may put a record in another month.
        mois = JULY if version == 1 else draw.choice((JULY, JULY + 1))
        return record(cents, name=name, version=version, person=person, mode=mode, mois_rattachement=mois)

    return [
        lambda store: model.send(store, [(n, record(7, name=n, person=p)) for n, p in others]),
        lambda store: model.send(store, [(name, made(1, 7))]),  # often there already
        lambda store: model.send(store, [(name, made(1, 8))]),  # then refused
        lambda store: model.send(store, [(name, made(version, 9))]),
        lambda store: model.send(store, [(name, made(version, 9, Mode.ANNULATION))]),
        lambda store: model.upsert(store, household(numero, [person, others[0][1]][: 1 + draw.randrange(2)])),
        lambda store: model.upsert(store, replace(household(numero, [person]), departement="34")),
        lambda store: model.judge(store, [person], [numero]),
        lambda store: model.judge(store, [person], [numero]),
    ]
