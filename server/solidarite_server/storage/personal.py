"""What a store does for the persons it holds: renew their pseudonyms, find, erase and purge what is held on them.

Everything else only adds to a store; here alone things are changed or removed. Readers go on meanwhile with what was
there before, writers wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from solidarite_server.domain.month import Month
from solidarite_server.ports import CampaignRow, StoredFoyer
from solidarite_server.storage import audit
from solidarite_server.storage.persons import PSEUDONYM_VERSION, Persons, with_persons
from solidarite_server.storage.sums import FOYER, intact, row_sum

if TYPE_CHECKING:
    from solidarite_server.storage.sql import Commit, Row, Session

_VERSIONS_AFTER = f"{FOYER.select()} WHERE (numero_allocataire, known_at_us) > (?, ?) ORDER BY 1, 2 LIMIT 5000"
_EVENTS = "SELECT 1 FROM declaration_event AS e WHERE e.numero_allocataire = foyer.numero_allocataire"
_LATER = (
    "SELECT 1 FROM foyer AS later WHERE later.numero_allocataire = foyer.numero_allocataire"
    " AND later.known_at_us > foyer.known_at_us"
)


class PersonalDataSql(ABC):
    """Implements `ports.PersonalData` but for the bulk of records."""

    _persons: Persons
    _audit_key: bytes | None

    # What an engine brings

    @abstractmethod
    def _reading(self) -> Session: ...

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[Commit]: ...

    @abstractmethod
    def _rename_records(self, session: Session, change: Callable[[bytes], bytes]) -> int:
        """Give every person of the records another name on disk; the number of records."""

    @abstractmethod
    def _remove_person(self, session: Session, person: bytes) -> int:
        """Remove every record of a person, as named on disk; their number."""

    @abstractmethod
    def _remove_paid_before(self, session: Session, day: int) -> int:
        """Remove the records paid before a day (since 1970-01-01); their number."""

    @abstractmethod
    def _wipe(self) -> None:
        """Overwrite what was removed, as far as the engine can."""

    # Pseudonyms

    def renew_pseudonyms(self, version: int) -> int:
        """Wrap every person anew under a version of the keys, all at once; the number of records."""
        with self._transaction() as commit:
            session, held = commit.session, commit.pseudonyms
            if held == version:
                return 0

            def renewed(persons: bytes) -> bytes:
                return self._persons.inside(self._persons.outside(persons, held), version, writing=True)

            count = self._rename_records(session, renewed)
            after: tuple[str, int] = ("", 0)
            while rows := intact(FOYER, session.rows(_VERSIONS_AFTER, after)):
                payloads = with_persons([row[2] for row in rows], renewed)
                _rewrite(session, [(row[0], row[1], payload) for payload, row in zip(payloads, rows, strict=True)])
                after = (rows[-1][0], rows[-1][1])
            self._persons.put_version(session, version)
        self._wipe()
        return count

    def pseudonym_version(self) -> int:
        """The version of the keys that persons are wrapped under."""
        return self._persons.version(self._reading())

    # What is held on a person

    def dossiers_of(self, person: bytes) -> list[str]:
        """The dossiers of which a version names that person."""
        version = self._persons.version(self._reading())
        name = self._persons.inside(person, version).hex().encode()
        query = f"SELECT DISTINCT numero_allocataire FROM foyer WHERE {self._holds('payload')} ORDER BY 1"  # noqa: S608
        return [row[0] for row in self._reading().rows(query, (name,))]

    @abstractmethod
    def _holds(self, column: str) -> str:
        """SQL that tells whether a column of bytes holds those of a parameter."""

    def foyer_versions(self, numero_allocataire: str) -> list[StoredFoyer]:
        """Every version of a dossier, oldest first."""
        query = f"{FOYER.select(PSEUDONYM_VERSION)} WHERE numero_allocataire = ? ORDER BY known_at_us"
        return [version for _, version in self._outside(self._reading().rows(query, (numero_allocataire,)))]

    @abstractmethod
    def _outside(self, rows: Sequence[Row]) -> list[tuple[str, StoredFoyer]]: ...

    def declared_months(self, numero_allocataire: str) -> list[Month]:
        """The months of which a dossier has a declaration."""
        query = "SELECT DISTINCT mois FROM declaration_event WHERE numero_allocataire = ? ORDER BY mois"
        return [Month.from_index(row[0]) for row in self._reading().rows(query, (numero_allocataire,))]

    def campaign_rows_of(self, numero_allocataire: str) -> list[tuple[str, CampaignRow]]:
        """What campaigns computed for a dossier, by campaign."""
        query = (
            "SELECT campaign_id, numero_allocataire, rsa_cents, prime_activite_cents FROM campaign_row"
            " WHERE numero_allocataire = ? ORDER BY campaign_id"
        )
        return [(row[0], CampaignRow(*row[1:])) for row in self._reading().rows(query, (numero_allocataire,))]

    # Erasure

    def erase_records(self, person: bytes) -> int:
        """Remove every record of a person; their number."""
        with self._transaction() as commit:
            name = self._persons.inside(person, commit.pseudonyms)
            removed = self._remove_person(commit.session, name)
        self._wipe()
        return removed

    def erase_dossier(self, numero_allocataire: str) -> None:
        """Remove a dossier with all its versions, its declarations and its results."""
        with self._transaction() as commit:
            for table in ("foyer", "declaration_event", "campaign_row"):
                commit.session.run(f"DELETE FROM {table} WHERE numero_allocataire = ?", (numero_allocataire,))  # noqa: S608
        self._wipe()

    def replace_versions(self, numero_allocataire: str, versions: Sequence[StoredFoyer]) -> None:
        """Write other contents in the place of versions of a dossier."""
        with self._transaction() as commit:
            payloads = self._persons.dossiers_inside([version.payload for version in versions], commit.pseudonyms)
            rows = zip(versions, payloads, strict=True)
            _rewrite(commit.session, [(numero_allocataire, version.known_at_us, payload) for version, payload in rows])
        self._wipe()

    # Retention

    def purge_records(self, before_day: int) -> int:
        """Remove the records paid before a day (since 1970-01-01); their number."""
        with self._transaction() as commit:
            removed = self._remove_paid_before(commit.session, before_day)
        self._wipe()
        return removed

    def purge_declarations(self, before_us: int, before_month: Month) -> int:
        """Remove the declarations whose last event is older than an instant, and the results of campaigns of earlier
        months; the number of events.
        """
        with self._transaction() as commit:
            removed = commit.session.run(
                "DELETE FROM declaration_event WHERE (numero_allocataire, mois) IN (SELECT numero_allocataire, mois"
                " FROM declaration_event GROUP BY numero_allocataire, mois HAVING max(known_at_us) < ?)",
                (before_us,),
            )
            commit.session.run(
                "DELETE FROM campaign_row WHERE campaign_id IN (SELECT campaign_id FROM campaign WHERE mois < ?)",
                (before_month.index,),
            )
        self._wipe()
        return removed

    def purge_dossiers(self, before_us: int) -> int:
        """Remove the versions replaced before an instant, and the dossiers untouched since then without a declaration;
        the number of versions.
        """
        with self._transaction() as commit:
            replaced = commit.session.run(
                f"DELETE FROM foyer WHERE EXISTS ({_LATER} AND later.known_at_us < ?)",  # noqa: S608
                (before_us,),
            )
            left = commit.session.run(
                f"DELETE FROM foyer WHERE known_at_us < ? AND NOT EXISTS ({_LATER}) AND NOT EXISTS ({_EVENTS})",  # noqa: S608
                (before_us,),
            )
        self._wipe()
        return replaced + left

    def purge_audit(self, before_us: int) -> int:
        """Remove the audit lines older than an instant; the chain goes on from the first one kept."""
        with self._transaction() as commit:
            removed = audit.purge(commit, before_us, self._audit_key)
        self._wipe()
        return removed


def _rewrite(session: Session, rows: Sequence[Row]) -> None:
    """Write other contents in the place of versions of dossiers: rows (number, instant, content)."""
    session.many(
        "UPDATE foyer SET payload = ?, checksum = ? WHERE numero_allocataire = ? AND known_at_us = ?",
        [(row[2], row_sum(row), row[0], row[1]) for row in rows],
    )
