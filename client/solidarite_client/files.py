"""Reads replacement income (unemployment, pensions, daily sickness pay…) from CSV or JSON Lines.

    from solidarite_client.files import read_file

    for item in read_file(Path("chomage-2026-08.csv")):
        ...   # ResourceRecord

One row a payment, the columns of `ReplacementIncome`; `docs/fichiers.md` shows them with an example. `read_file` also
recognises a DSN and hands it to `solidarite_client.dsn`.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Self

from pydantic import Field, ValidationError, model_validator

from solidarite_client.dsn import Item, looks_like_dsn, read_dsn
from solidarite_client.errors import TableError
from solidarite_client.models import (
    MAX_CENTS,
    MAX_VERSION,
    Checked,
    FluxSource,
    Identifier16,
    Mode,
    Month,
    MonthField,
    NamedFlux,
    NamedMode,
    NamedNature,
    ResourceRecord,
    is_permanent_nir,
    is_valid_nir,
)

_LONGEST_LINE = 64 * 1024
_DSN_SUFFIXES = (".dsn", ".edi", ".neodes")
_JSON_SUFFIXES = (".jsonl", ".ndjson")


class ReplacementIncome(Checked):
    """One row: an amount paid to one person by one body. Descriptions say in French what each column accepts."""

    nir: str | None = Field(default=None, description="13 caractères (Corse : 2A ou 2B), ou vide si ntt est donné")
    ntt: str | None = Field(
        default=None,
        pattern=r"^[0-9A-Za-z]+$",
        min_length=11,
        max_length=40,
        description="11 à 40 lettres ou chiffres, à la place du nir : jamais prérempli",
    )
    declarant: str = Field(
        pattern=r"^[0-9A-Za-z]+$",
        min_length=1,
        max_length=14,
        description="SIRET de 14 chiffres, ou code de l'organisme d'au plus 14 lettres ou chiffres",
    )
    nature: Annotated[NamedNature, Field(description="une nature de SALAIRE à RETRAITE_COMBATTANT")]
    date_versement: date = Field(description="une date AAAA-MM-JJ entre 1990 et 2099")
    montant_net_social_cents: int = Field(
        ge=-MAX_CENTS, le=MAX_CENTS, description="un nombre entier de centimes, négatif pour une reprise"
    )
    mois_rattachement: MonthField | None = Field(
        default=None, description="un mois AAAA-MM, ou vide pour le mois du versement"
    )
    numero_contrat: str = Field(default="", pattern=r"^[ -~]*$", max_length=20, description="au plus 20 caractères")
    mode: NamedMode = Field(default=Mode.INITIAL, description="INITIAL, DIFFERENTIEL ou ANNULATION")
    record_id: Identifier16 | None = Field(
        default=None,
        description="32 chiffres hexadécimaux (un UUID convient), exigés avec DIFFERENTIEL ; vide : tiré de la clé",
    )
    version: int = Field(
        default=1, ge=1, le=MAX_VERSION, description="un entier à partir de 1, plus grand à chaque remplacement"
    )
    flux_source: NamedFlux = Field(default=FluxSource.PASRAU, description="PASRAU (par défaut), DSN ou TI")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.nir is None) == (self.ntt is None):
            raise _Refusal("nir")
        if self.nir is not None and not is_valid_nir(self.nir):
            raise _Refusal("nir")
        if not self.nature.carried_by_records:
            raise _Refusal("nature")
        if not 1990 <= self.date_versement.year <= 2099:
            raise _Refusal("date_versement")
        # A difference is a record of its own: two of the same day must not be taken for one.
        if self.mode is Mode.DIFFERENTIEL and self.record_id is None:
            raise _Refusal("record_id")
        return self

    def to_record(self) -> ResourceRecord:
        """The record that the row stands for; its identifier comes from the natural key when the row has none."""
        provisional = self.nir is not None and not is_permanent_nir(self.nir)
        return ResourceRecord(
            record_id=self.record_id or self._natural_key(),
            version=self.version,
            nir=None if provisional else self.nir,
            ntt=self.nir if provisional else self.ntt,
            flux_source=self.flux_source,
            declarant=self.declarant,
            numero_contrat=self.numero_contrat,
            nature=self.nature,
            date_versement=self.date_versement,
            mois_rattachement=self.mois_rattachement or Month.of(self.date_versement),
            montant_net_social_cents=self.montant_net_social_cents,
            mode=self.mode,
        )

    def _natural_key(self) -> bytes:
        # Without the person, who belongs to a record's identity anyway: a NIR could be found again from the hash.
        month = self.mois_rattachement or Month.of(self.date_versement)
        parts = (
            "solidarite.table.record.v1",
            self.declarant,
            self.numero_contrat,
            self.nature.name,
            self.date_versement.isoformat(),
            str(month),
        )
        return hashlib.sha256("\x1f".join(parts).encode()).digest()[:16]


COLUMNS = tuple(ReplacementIncome.model_fields)
_REQUIRED = tuple(name for name, field in ReplacementIncome.model_fields.items() if field.is_required())


class _Refusal(ValueError):
    """A row refused for what its columns say together."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def read_file(path: Path, *, check_first: bool = True) -> Iterator[Item]:
    """Yield the items of a DSN, CSV or JSON Lines file, told apart by name, else by content.

    With `check_first` the whole file is read once before the first item comes out: a broken file yields nothing.
    FileError says line, rubric or column, and what is expected.
    """
    reader = reader_for(path)
    if check_first:
        for _ in reader(path):
            pass
    yield from reader(path)


def reader_for(path: Path) -> Callable[[Path], Iterator[Item]]:
    """Choose how to read a file; TableError when nothing recognises it."""
    suffix = path.suffix.lower()
    if suffix in _DSN_SUFFIXES:
        return _read_dsn_once
    if suffix in _JSON_SUFFIXES:
        return read_json_lines
    if suffix == ".csv":
        return read_csv
    with path.open("rb") as file:
        head = file.read(256)
    if looks_like_dsn(head):
        return _read_dsn_once
    if head.lstrip().startswith(b"{"):
        return read_json_lines
    raise TableError(1, "", "format inconnu ; attendu : un fichier .dsn, .csv ou .jsonl")


def _read_dsn_once(path: Path) -> Iterator[Item]:
    return read_dsn(path, check_first=False)


def read_json_lines(path: Path) -> Iterator[Item]:
    """Yield the record of each line of a JSON Lines file (UTF-8, one object a line)."""
    with path.open("rb") as file:
        for number, line in _text_lines(file):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                raise TableError(number, "", "attendu : un objet JSON sur une ligne") from None
            if not isinstance(row, dict):
                raise TableError(number, "", "attendu : un objet JSON sur une ligne")
            yield _record(number, row)


def read_csv(path: Path) -> Iterator[Item]:
    """Yield the record of each row of a CSV file (UTF-8; a header; commas, or semicolons as spreadsheets write)."""
    with path.open("rb") as raw:
        lines = (line for _, line in _text_lines(raw))
        header = next(lines, "").removeprefix("\ufeff")
        delimiter = ";" if header.count(";") > header.count(",") else ","
        names = _header([cell.strip() for cell in header.strip("\r\n").split(delimiter)])
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            try:
                cells = next(rows, None)
            except csv.Error:
                raise TableError(rows.line_num + 1, "", "attendu : une ligne CSV aux guillemets fermés") from None
            if cells is None:
                return
            if not any(cells):
                continue
            number = rows.line_num + 1
            if len(cells) != len(names):
                raise TableError(number, "", f"attendu : {len(names)} cellules, comme l'en-tête")
            # An empty cell is an absent value: the default applies.
            row = {name: cell.strip() for name, cell in zip(names, cells, strict=True) if cell.strip()}
            yield _record(number, row)


def _header(names: list[str]) -> list[str]:
    for name in names:
        if name not in COLUMNS:
            raise TableError(1, "", f"colonne inconnue dans l'en-tête ; colonnes possibles : {', '.join(COLUMNS)}")
    for name in _REQUIRED:
        if name not in names:
            raise TableError(1, name, "colonne obligatoire absente de l'en-tête")
    if len(set(names)) != len(names):
        raise TableError(1, "", "une colonne est en double dans l'en-tête")
    return names


def _record(number: int, row: dict[str, Any]) -> ResourceRecord:
    try:
        return ReplacementIncome.model_validate(row).to_record()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        refusal = first.get("ctx", {}).get("error")
        column = refusal.column if isinstance(refusal, _Refusal) else str(first["loc"][0])
    if column not in COLUMNS:
        raise TableError(number, "", f"colonne inconnue ; colonnes possibles : {', '.join(COLUMNS)}")
    raise TableError(number, column, f"attendu : {ReplacementIncome.model_fields[column].description}")


def _text_lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise TableError(number, "", f"attendu : une ligne de moins de {_LONGEST_LINE} octets")
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError:
            raise TableError(number, "", "attendu : un fichier en UTF-8") from None
