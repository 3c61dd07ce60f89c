"""Cases and rights as tables of Arrow: the columnar format of `solidarite compute` (docs/moteur.md gives the schema).

A row is a case. Months are written AAAAMM, years AAAA; amounts are whole cents. Names are those of the JSON format.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from solidarite_server.cases import codes
from solidarite_server.cases.batch import Results, computed_facts
from solidarite_server.cases.careful import LAST_YEAR
from solidarite_server.cases.facts import AMOUNT_DTYPE, CASE_DTYPE, FACT_PERSON_DTYPE, Facts
from solidarite_server.cases.lines import BENEFICE
from solidarite_server.domain.money import MAX_CENTS
from solidarite_server.domain.month import Month, months_between
from solidarite_server.engine.columns import AIDE_LOGEMENT, EPARGNE, WINDOW
from solidarite_server.legislation import LegislationOptions
from solidarite_server.legislation.loader import FIRST_REPLAY

_EPOCH = 1970 * 12
_NO_CODE = 255

_name = pa.dictionary(pa.int8(), pa.string())
CASES = pa.schema(
    [
        ("id", pa.string()),
        ("mois_droit", pa.int32()),
        ("zone", _name),
        ("logement", _name),
        ("pilote", pa.bool_()),
        ("isolement_depuis", pa.int32()),
        ("hors_france", pa.int16()),
        (
            "personnes",
            pa.list_(
                pa.struct(
                    [
                        ("role", _name),
                        ("naissance", pa.date32()),
                        ("nationalite", _name),
                        ("titre_sejour_annees", pa.int16()),
                        ("droit_asf", pa.bool_()),
                        ("heures_trois_ans", pa.int16()),
                        ("arret_travail", pa.date32()),
                        ("grossesse", pa.list_(pa.int32())),
                        *((name, pa.bool_()) for name in codes.FLAGS),
                    ]
                )
            ),
        ),
        (
            "montants",
            pa.list_(
                pa.struct(
                    [
                        ("personne", pa.int16()),
                        ("categorie", _name),
                        ("periode", pa.int32()),
                        ("centimes", pa.int64()),
                    ]
                )
            ),
        ),
    ]
)
RIGHTS = pa.schema(
    [
        ("id", pa.string()),
        ("rsa_centimes", pa.int64()),
        ("ppa_centimes", pa.int64()),
        ("ppa_nette_crds_centimes", pa.int64()),
        ("erreur", pa.string()),
    ]
)
_OPTIONAL = {"isolement_depuis", "arret_travail", "id"}
_MAY_LACK = {"hors_france"}
"""Columns younger than tables that were already written."""


class TableError(ValueError):
    """The table as a whole cannot be read: a column is missing or of another type."""


def check_schema(schema: pa.Schema) -> None:
    """Refuse a table that lacks a column, or holds one of another type."""
    for field in CASES:
        if field.name not in schema.names:
            if field.name in _MAY_LACK:
                continue
            raise TableError(f"la colonne « {field.name} » manque")
        _check_type(field.name, schema.field(field.name).type, field.type)


def _check_type(path: str, found: pa.DataType, expected: pa.DataType) -> None:
    if pa.types.is_list(expected):
        if not (pa.types.is_list(found) or pa.types.is_large_list(found)):
            raise TableError(f"la colonne « {path} » est une liste, non {found}")
        _check_type(path, found.value_type, expected.value_type)
    elif pa.types.is_struct(expected):
        for field in expected:
            if not pa.types.is_struct(found) or found.get_field_index(field.name) < 0:
                raise TableError(f"la colonne « {path}.{field.name} » manque")
            _check_type(f"{path}.{field.name}", found.field(field.name).type, field.type)
    elif pa.types.is_dictionary(expected):
        text = found.value_type if pa.types.is_dictionary(found) else found
        if not (pa.types.is_string(text) or pa.types.is_large_string(text)):
            raise TableError(f"la colonne « {path} » est un texte, non {found}")
    elif found != expected:
        raise TableError(f"la colonne « {path} » est de type {expected}, non {found}")


def computed(batch: pa.RecordBatch, options: LegislationOptions) -> Results:
    """Compute the cases of a batch."""
    reader = _Batch(batch)
    facts = reader.facts()
    results = Results.of(batch.column("id"))
    results.errors = {row: reader.errors[row] for row in sorted(reader.errors)}
    results.numbers, results.lines = {row: row + 1 for row in results.errors}, len(batch)
    if len(facts):
        results.put(reader.good, computed_facts(facts, options))
    return results


def rights_of(results: Results) -> pa.RecordBatch:
    """Results as a batch of RIGHTS; the amounts of a refused case are null, and `erreur` says why."""
    refused = np.zeros(len(results.ids), bool)
    refused[list(results.errors)] = True
    amounts = [pa.array(values, mask=refused) for values in (results.rsa, results.ppa, results.ppa_nette)]
    errors = pa.nulls(len(refused), pa.string())
    if results.errors:
        errors = pa.array([results.errors.get(row) for row in range(len(refused))], pa.string())
    return pa.record_batch([_identifiers(results.ids), *amounts, errors], schema=RIGHTS)


def rights_from(payload: Results | bytes) -> pa.RecordBatch:
    """A batch of RIGHTS of results, or of such a batch as another process has sent it."""
    return pa.ipc.read_record_batch(payload, RIGHTS) if isinstance(payload, bytes) else rights_of(payload)


def _identifiers(ids: Any) -> pa.Array:
    if isinstance(ids, pa.Array):
        return ids.cast(pa.string())
    return pa.array([name if name is None or isinstance(name, str) else str(name) for name in ids], pa.string())


_Laid = tuple[npt.NDArray[np.void], npt.NDArray[np.int64], npt.NDArray[np.int32]]
"""Facts of persons or of amounts, the row of each, and how many each row has."""


class _Batch:
    """Reads a batch column by column; a row that is wrong is left out, with the first thing that is wrong in it."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self.errors: dict[int, str] = {}
        self._wrong = np.zeros(len(batch), bool)

    @property
    def good(self) -> npt.NDArray[np.int64]:
        """Rows that could be read."""
        return np.flatnonzero(~self._wrong)

    def facts(self) -> Facts:
        cases = np.zeros(len(self._batch), CASE_DTYPE)
        rows = np.arange(len(self._batch))
        mois = self._months(self._batch.column("mois_droit"), rows, "mois_droit")
        first, last = FIRST_REPLAY.year * 12, LAST_YEAR * 12 + 11
        self._refuse(
            rows[(mois < first) | (mois > last)],
            f"mois_droit : un mois de 2019-01 à {LAST_YEAR}-12 est attendu",
        )
        cases["mois"] = mois
        cases["zone"] = self._codes(self._batch.column("zone"), codes.ZONES, rows, "zone")
        cases["logement"] = self._codes(self._batch.column("logement"), codes.LOGEMENTS, rows, "logement")
        cases["pilote"] = self._values(self._batch.column("pilote"), rows, "pilote")
        isolement = self._batch.column("isolement_depuis")
        since = self._months(isolement.fill_null(199001), rows, "isolement_depuis")
        self._refuse(rows[since > mois], "isolement_depuis : un mois qui ne suit pas mois_droit est attendu")
        if "hors_france" in self._batch.schema.names:
            days = self._values(self._batch.column("hors_france"), rows, "hors_france")
            self._refuse(rows[days < 0], "hors_france : un nombre de jours est attendu")
            cases["hors_france"] = days
        cases["isolement"] = np.where(isolement.is_valid().to_numpy(zero_copy_only=False), since, 0)
        persons, person_rows, cases["persons"] = self._persons(mois)
        amounts, amount_rows, cases["amounts"] = self._amounts(cases["persons"])
        if not self._wrong.any():
            return Facts(cases, persons, amounts)
        keep = ~self._wrong
        return Facts(cases[keep], persons[keep[person_rows]], amounts[keep[amount_rows]])

    def _persons(self, mois: npt.NDArray[np.int32]) -> _Laid:
        column, rows, counts = self._items("personnes")
        persons = np.zeros(len(rows), FACT_PERSON_DTYPE)
        self._refuse(
            np.flatnonzero((counts < 1) | (counts > 40)), "personnes : une liste de 1 à 40 personnes est attendue"
        )
        of = {name: column.field(name) for name in (field.name for field in CASES.field("personnes").type.value_type)}
        role = self._codes(of["role"], codes.ROLES, rows, "personnes.role")
        start = np.concatenate(([True], rows[1:] != rows[:-1])) if len(rows) else np.zeros(0, bool)
        # Allocataire, partners, others: the order that the columns of the engine keep.
        disorder = np.concatenate(([False], (role[1:] < role[:-1]) & ~start[1:])) if len(rows) else start
        self._refuse(
            rows[(start != (role == 1)) | disorder],
            "personnes : un demandeur, puis son conjoint, puis les enfants sont attendus",
        )
        persons["role"] = role
        persons["naissance"], persons["jour"] = self._days(of["naissance"], rows, "personnes.naissance")
        arret, known = of["arret_travail"], of["arret_travail"].is_valid().to_numpy(zero_copy_only=False)
        index, _ = self._days(arret.fill_null(0), rows, "personnes.arret_travail")
        persons["arret"] = np.where(known, index, 0)
        persons["nationalite"] = self._codes(of["nationalite"], codes.NATIONALITES, rows, "personnes.nationalite")
        years = self._values(of["titre_sejour_annees"], rows, "personnes.titre_sejour_annees")
        self._refuse(
            rows[(years < 0) | (years > 100)], "personnes.titre_sejour_annees : de 0 à 100 années sont attendues"
        )
        persons["titre_annees"] = np.clip(years, 0, 100)
        persons["asf"] = self._values(of["droit_asf"], rows, "personnes.droit_asf")
        hours = self._values(of["heures_trois_ans"], rows, "personnes.heures_trois_ans")
        self._refuse(rows[hours < 0], "personnes.heures_trois_ans : un nombre d'heures est attendu")
        persons["heures"] = hours
        for name, flag in codes.FLAGS.items():
            persons["flags"] |= self._values(of[name], rows, f"personnes.{name}").astype(np.uint16) * np.uint16(flag)
        persons["grossesse"] = self._pregnancies(of["grossesse"], rows, mois)
        return persons, rows, counts

    def _pregnancies(
        self, column: pa.Array, rows: npt.NDArray[np.int64], mois: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int64]:
        masks = np.zeros(len(rows), np.int64)
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        if lengths.any():
            owners = np.repeat(np.arange(len(rows)), lengths)
            months = self._months(column.flatten(), rows[owners], "personnes.grossesse")
            k = months - mois[rows[owners]] + WINDOW - 1
            seen = (k >= 0) & (k < WINDOW)
            np.bitwise_or.at(masks, owners[seen], 1 << k[seen])
        return masks

    def _amounts(self, persons: npt.NDArray[np.int32]) -> _Laid:
        column, rows, counts = self._items("montants")
        amounts = np.zeros(len(rows), AMOUNT_DTYPE)
        category = self._codes(column.field("categorie"), codes.CATEGORIES, rows, "montants.categorie")
        person = self._values(column.field("personne"), rows, "montants.personne")
        shared = (category >= 100) & (category <= AIDE_LOGEMENT)
        wrong = np.where(shared, person != -1, (person < 0) | (person >= persons[rows]))
        self._refuse(
            rows[wrong], "montants.personne : le rang d'une personne du cas, ou -1 pour une prestation du foyer"
        )
        cents = self._values(column.field("centimes"), rows, "montants.centimes")
        self._refuse(
            rows[(cents > MAX_CENTS) | (cents < -MAX_CENTS)], "montants.centimes : au plus 100 milliards d'euros"
        )
        period = self._values(column.field("periode"), rows, "montants.periode")
        yearly = category >= BENEFICE
        balance = (category >= EPARGNE) & ~yearly
        index = _index_of(period)
        year = (period >= 1000) & (period <= 9999)
        self._refuse(
            rows[np.where(yearly, ~year, ~balance & (index < 0))],
            "montants.periode : un mois AAAAMM (une année AAAA pour un bénéfice ou un revenu du capital) est attendu",
        )
        amounts["person"], amounts["category"], amounts["cents"] = person, category, cents
        amounts["period"] = np.where(yearly, period, np.where(balance, 0, index))
        return amounts, rows, counts

    def _items(self, name: str) -> tuple[pa.StructArray, npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """The items of a column of lists, the row of each, and how many each row has."""
        column = self._batch.column(name)
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
        rows = np.repeat(np.arange(len(column)), lengths)
        self._refuse(
            np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)), f"{name} : une liste est attendue"
        )
        items = column.flatten()
        if items.null_count:
            self._refuse(rows[items.is_null().to_numpy(zero_copy_only=False)], f"{name} : un élément manque")
        return items, rows, lengths

    def _refuse(self, rows: npt.NDArray[np.int64], message: str) -> None:
        if len(rows):
            for row in np.unique(rows).tolist():
                self.errors.setdefault(row, message)
            self._wrong[rows] = True

    def _values(self, column: pa.Array, rows: npt.NDArray[np.int64], path: str) -> npt.NDArray[Any]:
        if column.null_count:
            self._refuse(rows[column.is_null().to_numpy(zero_copy_only=False)], f"{path} : une valeur est attendue")
            column = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
        values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values

    def _codes(
        self, column: pa.Array, table: dict[str, int], rows: npt.NDArray[np.int64], path: str
    ) -> npt.NDArray[np.uint8]:
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        known = np.array([*(table.get(name, _NO_CODE) for name in column.dictionary.to_pylist()), _NO_CODE], np.uint8)
        indices = column.indices.fill_null(len(known) - 1) if column.null_count else column.indices
        found: npt.NDArray[np.uint8] = known[indices.to_numpy(zero_copy_only=False)]
        self._refuse(rows[found == _NO_CODE], f"{path} : une de ces valeurs est attendue : {', '.join(table)}")
        return found

    def _months(self, column: pa.Array, rows: npt.NDArray[np.int64], path: str) -> npt.NDArray[np.int32]:
        index = _index_of(self._values(column, rows, path))
        self._refuse(rows[index < 0], f"{path} : un mois s'écrit AAAAMM")
        return index

    def _days(
        self, column: pa.Array, rows: npt.NDArray[np.int64], path: str
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """Month.index and day of dates, looked up: a third of the time of numpy's calendar."""
        days = self._values(column.cast(pa.int32()), rows, path)
        self._refuse(
            rows[(days < _FIRST_DAY) | (days >= _FIRST_DAY + len(_MONTH_OF_DAY))],
            f"{path} : une date de 1900 à {LAST_YEAR} est attendue",
        )
        # Clipped first: the difference of a day that is refused could overflow.
        places = np.clip(days, _FIRST_DAY, _FIRST_DAY + len(_MONTH_OF_DAY) - 1) - _FIRST_DAY
        return np.take(_MONTH_OF_DAY, places), np.take(_DAY_OF_MONTH, places)


_DAYS = np.arange("1900-01-01", f"{LAST_YEAR + 1}-01-01", dtype="datetime64[D]")
_FIRST_DAY = int(_DAYS[0].astype(np.int64))
_MONTH_OF_DAY = (_DAYS.astype("datetime64[M]").astype(np.int64) + _EPOCH).astype(np.int32)
_DAY_OF_MONTH = ((_DAYS - _DAYS.astype("datetime64[M]")).astype(np.int64) + 1).astype(np.uint8)


_INDEX = np.full(2100_00, -1, np.int32)
for _month in months_between(Month(1990, 1), Month(2099, 12)):
    _INDEX[_month.year * 100 + _month.month] = _month.index


def _index_of(written: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Month.index of AAAAMM, -1 when it is not a month: looking it up takes a tenth of the divisions."""
    found: npt.NDArray[np.int32] = np.take(_INDEX, written, mode="clip")
    return found


def cases_of(facts: Facts, ids: list[Any]) -> pa.RecordBatch:
    """Cases as a batch of CASES: what `_Batch` reads."""
    cases, persons, amounts = facts.cases, facts.persons, facts.amounts
    owner = np.repeat(cases["mois"].astype(np.int64), cases["persons"])
    months = [
        [_written(m - (WINDOW - 1) + k) for k in range(WINDOW) if mask >> k & 1] if mask else []
        for m, mask in zip(owner.tolist(), persons["grossesse"].tolist(), strict=True)
    ]
    birth = (persons["naissance"].astype(np.int64) - _EPOCH).astype("datetime64[M]").astype("datetime64[D]")
    birth += persons["jour"].astype("timedelta64[D]") - np.timedelta64(1, "D")
    arret = (persons["arret"].astype(np.int64) - _EPOCH).astype("datetime64[M]").astype("datetime64[D]")
    of_person = {
        "role": _named(persons["role"], codes.ROLES),
        "naissance": pa.array(birth, pa.date32()),
        "nationalite": _named(persons["nationalite"], codes.NATIONALITES),
        "titre_sejour_annees": pa.array(persons["titre_annees"].astype(np.int16)),
        "droit_asf": pa.array(persons["asf"] > 0),
        "heures_trois_ans": pa.array(persons["heures"].astype(np.int16)),
        "arret_travail": pa.array(arret, pa.date32(), mask=persons["arret"] == 0),
        "grossesse": pa.array(months, pa.list_(pa.int32())),
        **{name: pa.array((persons["flags"] & flag) != 0) for name, flag in codes.FLAGS.items()},
    }
    period = amounts["period"].astype(np.int64)
    monthly = amounts["category"] <= AIDE_LOGEMENT
    of_amount = {
        "personne": pa.array(amounts["person"].astype(np.int16)),
        "categorie": _named(amounts["category"], codes.CATEGORIES),
        "periode": pa.array(np.where(monthly, _written(period), period).astype(np.int32)),
        "centimes": pa.array(amounts["cents"].astype(np.int64)),
    }
    return pa.record_batch(
        [
            _identifiers(ids),
            pa.array(_written(cases["mois"].astype(np.int64)).astype(np.int32)),
            _named(cases["zone"], codes.ZONES),
            _named(cases["logement"], codes.LOGEMENTS),
            pa.array(cases["pilote"] > 0),
            pa.array(
                _written(cases["isolement"].astype(np.int64)).astype(np.int32), pa.int32(), mask=cases["isolement"] == 0
            ),
            pa.array(cases["hors_france"].astype(np.int16)),
            _lists(cases["persons"], of_person, "personnes"),
            _lists(cases["amounts"], of_amount, "montants"),
        ],
        schema=CASES,
    )


def _written(index: Any) -> Any:
    """Month.index as AAAAMM."""
    return index // 12 * 100 + index % 12 + 1


def _named(codes: npt.NDArray[Any], table: dict[str, int]) -> pa.DictionaryArray:
    places = np.zeros(256, np.int8)
    places[list(table.values())] = np.arange(len(table), dtype=np.int8)
    return pa.DictionaryArray.from_arrays(pa.array(places[codes]), pa.array(list(table)))


def _lists(counts: npt.NDArray[Any], columns: dict[str, pa.Array], name: str) -> pa.ListArray:
    fields = list(CASES.field(name).type.value_type)
    items = pa.StructArray.from_arrays([columns[field.name] for field in fields], fields=fields)
    offsets = np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), items, type=CASES.field(name).type)
