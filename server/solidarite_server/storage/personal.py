"""What a store does for the persons it holds: renew their pseudonyms, find, erase and purge what is held on them.

Everything else only adds to a store; here alone things are changed or removed. Readers go on meanwhile with what was
there before, writers wait.

A renewal is a sequence of short transactions, each of which writes what it changes together with how far the renewal
is: interrupted anywhere, it goes on from there, and several callers of `renew_some` may share it. From its first
transaction on everything is written under the new names, so that what is left under the old ones only shrinks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from solidarite_server.domain.month import Month
from solidarite_server.ports import AuditLine, CampaignRow, RenewalProgress, StoredFoyer
from solidarite_server.storage import audit
from solidarite_server.storage.persons import ALL_PERSONS, NAMES, Persons, Renewal, with_persons
from solidarite_server.storage.sums import FOYER, intact, row_sum

if TYPE_CHECKING:
    from solidarite_server.storage.sql import Commit, Row, Session

_DOSSIER_VERSIONS = 500
"""Versions of dossiers renewed at once: some 20 ms."""
_NUMBERS_AFTER = "SELECT numero_allocataire FROM foyer WHERE numero_allocataire > ? ORDER BY 1 LIMIT ?"
_VERSIONS = f"{FOYER.select(*NAMES)} WHERE numero_allocataire = ? ORDER BY known_at_us"
_VERSIONS_BETWEEN = f"{FOYER.select()} WHERE numero_allocataire > ? AND numero_allocataire <= ?"
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
    def _snapshot(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def _begin_records(self, session: Session) -> None:
        """Note that every record held now is under the old names."""

    @abstractmethod
    def _renew_records(self, session: Session, first: int, change: Callable[[bytes], bytes]) -> int:
        """Give new names to some persons whose records are under the old ones, beginning at `first` (see
        `Renewal`); returns the next `first`, `ALL_PERSONS` when none is left.
        """

    @abstractmethod
    def _holds_old_names(self, session: Session) -> bool:
        """Whether any record is still under the old names."""

    @abstractmethod
    def _remove_person(self, session: Session, person: bytes) -> int:
        """Remove every record of a person, as named on disk; their number."""

    @abstractmethod
    def _remove_paid_before(self, session: Session, day: int) -> int:
        """Remove the records paid before a day (since 1970-01-01); their number."""

    @abstractmethod
    def wipe(self) -> None:
        """Overwrite what was removed, as far as the engine can; StoreUnavailable while a long read needs it."""

    # Pseudonyms

    def begin_renewal(self, version: int, lines: Sequence[AuditLine] = ()) -> bool:
        """Wrap persons under a version of the keys from now on; False when a renewal is under way already."""
        with self._transaction() as commit:
            if commit.names.renewal is not None or commit.names.version == version:
                return False
            self._persons.put_version(commit.session, version)
            self._persons.put_renewal(commit.session, Renewal(commit.names.version))
            self._begin_records(commit.session)
            self._write_lines(commit, lines)
        return True

    def renew_some(self) -> bool:
        """Rename some records or dossiers in one short transaction; False when nothing is left."""
        with self._transaction() as commit:
            renewal = commit.names.renewal
            if renewal is None:
                return False
            if renewal.records_done:
                return self._renew_dossiers(commit) > 0

            def change(persons: bytes) -> bytes:
                return self._persons.renamed(persons, renewal.before, commit.names.version)

            first = self._renew_records(commit.session, renewal.persons, change)
            self._persons.put_renewal(commit.session, replace(renewal, persons=first))
        return True

    def _renew_dossiers(self, commit: Commit) -> int:
        """Rename the next dossiers; how many versions of them."""
        renewal = commit.names.renewal
        assert renewal is not None
        numbers = commit.session.rows(_NUMBERS_AFTER, (renewal.dossiers, _DOSSIER_VERSIONS))
        if not numbers:
            return 0
        last = numbers[-1][0]
        rows = intact(FOYER, commit.session.rows(_VERSIONS_BETWEEN, (renewal.dossiers, last)))
        payloads = with_persons(
            [row[2] for row in rows],
            lambda persons: self._persons.renamed(persons, renewal.before, commit.names.version),
        )
        _rewrite(commit.session, [(row[0], row[1], payload) for payload, row in zip(payloads, rows, strict=True)])
        self._persons.put_renewal(commit.session, replace(renewal, dossiers=last))
        return len(rows)

    def end_renewal(self, lines: Sequence[AuditLine] = ()) -> bool:
        """End the renewal, with audit lines, once nothing is under the old names, freed pages included; False while
        something is. True as well when none is under way, and then the lines are not written.
        """
        self.wipe()
        with self._snapshot() as session:
            # Nothing new is written under the old names: once none was seen, there is none.
            left = self._holds_old_names(session)
        with self._transaction() as commit:
            renewal = commit.names.renewal
            if renewal is None:
                return True
            # Dossiers made since the last slice; with more of them than a slice, another is due.
            if left or not renewal.records_done or self._renew_dossiers(commit) >= _DOSSIER_VERSIONS:
                return False
            self._persons.put_renewal(commit.session, None)
            self._write_lines(commit, lines)
        return True

    def renewal(self) -> RenewalProgress | None:
        """How far the renewal under way is; None when there is none."""
        version, kept = self._reading().rows("SELECT pseudonyms, renewal FROM head")[0]
        if kept is None:
            return None
        renewal = Renewal.kept(kept)
        return RenewalProgress(renewal.before, version, renewal.persons / ALL_PERSONS)

    def pseudonym_version(self) -> int:
        """The version of the keys under which persons are written."""
        return int(self._reading().rows("SELECT pseudonyms FROM head")[0][0])

    @abstractmethod
    def _write_lines(self, commit: Commit, lines: Sequence[AuditLine]) -> None: ...

    # What is held on a person

    def dossiers_of(self, person: bytes) -> list[str]:
        """The dossiers of which a version names that person."""
        with self._snapshot() as session:
            versions = self._persons.names(session).of_dossiers
            named = [self._persons.inside(person, version).hex().encode() for version in versions]
            holding = " OR ".join(self._holds("payload") for _ in named)
            query = f"SELECT DISTINCT numero_allocataire FROM foyer WHERE {holding} ORDER BY 1"  # noqa: S608
            return [row[0] for row in session.rows(query, named)]

    @abstractmethod
    def _holds(self, column: str) -> str:
        """SQL that tells whether a column of bytes holds those of a parameter."""

    def foyer_versions(self, numero_allocataire: str) -> list[StoredFoyer]:
        """Every version of a dossier, oldest first."""
        return [version for _, version in self._outside(self._reading().rows(_VERSIONS, (numero_allocataire,)))]

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
            names = [self._persons.inside(person, version) for version in commit.names.of_records]
            return sum(self._remove_person(commit.session, name) for name in names)

    def erase_dossier(self, numero_allocataire: str) -> None:
        """Remove a dossier with all its versions, its declarations and its results."""
        with self._transaction() as commit:
            for table in ("foyer", "declaration_event", "campaign_row"):
                commit.session.run(f"DELETE FROM {table} WHERE numero_allocataire = ?", (numero_allocataire,))  # noqa: S608

    def replace_versions(self, numero_allocataire: str, versions: Sequence[StoredFoyer]) -> None:
        """Write other contents in the place of versions of a dossier."""
        with self._transaction() as commit:
            dossiers = [(numero_allocataire, version.payload) for version in versions]
            payloads = self._persons.dossiers_inside(dossiers, commit.names)
            rows = zip(versions, payloads, strict=True)
            _rewrite(commit.session, [(numero_allocataire, version.known_at_us, payload) for version, payload in rows])

    # Retention

    def purge_records(self, before_day: int) -> int:
        """Remove the records paid before a day (since 1970-01-01); their number."""
        with self._transaction() as commit:
            return self._remove_paid_before(commit.session, before_day)

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
        return replaced + left

    def purge_audit(self, before_us: int) -> int:
        """Remove the audit lines older than an instant; the chain goes on from the first one kept."""
        with self._transaction() as commit:
            return audit.purge(commit, before_us, self._audit_key)


def _rewrite(session: Session, rows: Sequence[Row]) -> None:
    """Write other contents in the place of versions of dossiers: rows (number, instant, content)."""
    session.many(
        "UPDATE foyer SET payload = ?, checksum = ? WHERE numero_allocataire = ? AND known_at_us = ?",
        [(row[2], row_sum(row), row[0], row[1]) for row in rows],
    )
