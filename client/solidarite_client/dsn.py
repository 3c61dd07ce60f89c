"""Reads monthly DSN files (NEODeS, norms P24V01 to P26V01) as resource records.

    from solidarite_client.dsn import read_dsn

    for item in read_dsn(Path("2026-08.dsn")):
        ...   # ResourceRecord, and one DocumentSeal after the records of each declaration

One rubric a line, `S21.G00.50.001,'31082026'`, ISO-8859-1, CR LF or LF. Of the whole norm only what makes a resource
record is read: the montant net social (bloc S21.G00.58 type 03) with the payment, contract, person, establishment and
declaration around it. `docs/fichiers.md` lists the rubrics.

Files are read by blocks of 256 KiB: memory does not grow with the file, except by a few dozen bytes for each
person of the declaration being read, needed to tell apart the payments of a person who appears twice in it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NoReturn

from solidarite_client.errors import DsnError
from solidarite_client.models import (
    FIRST_YEAR,
    LAST_YEAR,
    MAX_CENTS,
    MAX_VERSION,
    DocumentRef,
    DocumentSeal,
    FluxSource,
    Mode,
    Month,
    NatureRessource,
    ResourceRecord,
    is_permanent_nir,
    is_valid_nir,
)

NORMS = frozenset({"P24V01", "P25V01", "P26V01"})
MONTANT_NET_SOCIAL = "03"

_NORMALE, _NEANT, _ANNULE_ET_REMPLACE, _ANNULE, _ANNULE_ET_REMPLACE_NEANT = "01", "02", "03", "04", "05"
_KINDS = (_NORMALE, _NEANT, _ANNULE_ET_REMPLACE, _ANNULE, _ANNULE_ET_REMPLACE_NEANT)

_BLOCK_BYTES = 1 << 18
_LONGEST_LINE = 4096  # bounds what is held of a file without line ends; the norm's values are far shorter

# Possessive quantifiers: no place to come back to is kept, so a block of lines costs no memory.
_LINES = re.compile(rb"(?:S\d\d\.G\d\d\.\d\d\.\d{3},'[^\x00-\x1f]{1,4000}+(?<=')\r?\n)*+")
_CODE = re.compile(rb"S\d\d\.G\d\d\.\d\d\.\d{3}(?=,)")
_NTT = re.compile(r"[12]\d{9}[0-9A-Za-z]{1,30}")
_AMOUNT = re.compile(r"-?\d{1,12}\.\d{2}")
_ORDER = re.compile(r"\d{1,10}")
_FRACTION = re.compile(r"[1-9][1-9]")
_CONTRACT = re.compile(r"[ -~]{1,20}")

_DATE = "une date JJMMAAAA"

# The blocs read; the lines of all others only have to be well formed.
_READ = frozenset(
    {
        b"S10.G00.00", b"S10.G00.01", b"S20.G00.05", b"S21.G00.06", b"S21.G00.11", b"S21.G00.30",
        b"S21.G00.40", b"S21.G00.50", b"S21.G00.51", b"S21.G00.58", b"S90.G00.90",
    }
)  # fmt: skip

Item = ResourceRecord | DocumentSeal


def read_dsn(source: Path | BinaryIO, *, check_first: bool = True) -> Iterator[Item]:
    """Yield the records of each declaration, then its seal.

    `source` is a path, or a binary file open at its beginning. With `check_first` the whole file is read once before
    the first item comes out (a file object must then be seekable), so that a broken file yields nothing: leave it on
    unless the items are set aside until the end. DsnError says line, rubric and what is expected.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield from read_dsn(file, check_first=check_first)
        return
    if check_first:
        start = source.tell()
        check_dsn(source)
        source.seek(start)
    reader = _Reader()
    for bloc in _blocs(source):
        yield from reader.take(bloc)
    reader.finish()


def check_dsn(source: Path | BinaryIO) -> int:
    """Read a whole file and count its montants nets sociaux; DsnError when it is broken."""
    return sum(isinstance(item, ResourceRecord) for item in read_dsn(source, check_first=False))


def looks_like_dsn(head: bytes) -> bool:
    """Tell whether a file that begins with these bytes is meant to be a DSN."""
    return head.removeprefix(b"\xef\xbb\xbf").startswith((b"S10.", b"S20.", b"S21.", b"S90."))


# -- lines into blocs ------------------------------------------------------------------------------------------------


class _Bloc:
    """One instance of a bloc: its rubrics by their three digits, and where it stands."""

    __slots__ = ("code", "first_line", "rubrics")

    def __init__(self, code: bytes, first_line: int) -> None:
        self.code = code
        self.first_line = first_line
        self.rubrics: dict[bytes, bytes] = {}

    def __contains__(self, rubric: bytes) -> bool:
        return rubric in self.rubrics

    def value(self, rubric: bytes) -> str | None:
        """The text between the outer quotes (apostrophes inside are kept), or None when the rubric is absent."""
        line = self.rubrics.get(rubric)
        return None if line is None else line[16 : line.rindex(b"'")].decode("latin-1")

    def required(self, rubric: bytes) -> str:
        value = self.value(rubric)
        if value is None:
            self.refuse(rubric, "rubrique obligatoire absente de ce bloc")
        return value

    def refuse(self, rubric: bytes, expected: str) -> NoReturn:
        """Raise at the line of the rubric, or at the first line of the bloc when it is absent."""
        offset = list(self.rubrics).index(rubric) if rubric in self.rubrics else 0
        raise DsnError(self.first_line + offset, self.name(rubric), expected)

    def name(self, rubric: bytes) -> str:
        return f"{self.code.decode()}.{rubric.decode()}"

    def date(self, rubric: bytes) -> date:
        day = _day(self.required(rubric))
        if day is None:
            self.refuse(rubric, f"attendu : {_DATE}, entre {FIRST_YEAR} et {LAST_YEAR}")
        return day

    def match(self, rubric: bytes, pattern: re.Pattern[str], expected: str) -> str:
        value = self.required(rubric)
        if not pattern.fullmatch(value):
            self.refuse(rubric, f"attendu : {expected}")
        return value


@lru_cache(maxsize=4096)
def _day(text: str) -> date | None:
    if len(text) != 8 or not (text.isascii() and text.isdigit()):
        return None
    try:
        day = date(int(text[4:]), int(text[2:4]), int(text[:2]))
    except ValueError:
        return None
    return day if FIRST_YEAR <= day.year <= LAST_YEAR else None


def _blocs(file: BinaryIO) -> Iterator[_Bloc]:
    """Group the lines of the blocs read into instances.

    Rubrics of an instance follow each other in growing order, so a lower number opens another instance of the same
    bloc; the same number twice is a duplicate. Lines of other blocs close the instance too.
    """
    current = _Bloc(b"", 0)
    last = b""
    for number, line in _numbered_lines(file):
        code = line[:10]
        rubric = line[11:14]
        if code == current.code and rubric > last:
            current.rubrics[rubric] = line
            last = rubric
            continue
        if code == current.code and rubric == last and current.rubrics:
            raise DsnError(number, line[:14].decode(), "rubrique en double dans ce bloc")
        if current.rubrics:
            yield current
        current = _Bloc(code, number)
        if code in _READ:
            current.rubrics[rubric] = line
            last = rubric
        else:
            # Never lower than a following rubric: the lines of an unread bloc come here one by one, unkept.
            last = b"\xff"
    if current.rubrics:
        yield current


def _numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield well-formed lines with their number; DsnError at the first that is not."""
    number = 1
    for block in _whole_lines(file):
        well_formed = _LINES.match(block)
        end = well_formed.end() if well_formed else 0
        lines = block[:end].split(b"\n")
        lines.pop()
        yield from enumerate(lines, number)
        number += len(lines)
        if end < len(block):
            _refuse_line(number, block[end:])


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Cut the file into blocks that end with a line feed; the last line gets one when it has none."""
    rest = b""
    while data := file.read(_BLOCK_BYTES):
        cut = data.rfind(b"\n") + 1
        if cut:
            yield rest + data[:cut]
            rest = data[cut:]
        else:
            rest += data
        if len(rest) > _LONGEST_LINE:
            yield rest  # without its line feed: refused, and the rest of the file is not read
            return
    if rest.strip():
        yield rest + b"\n"


def _refuse_line(number: int, text: bytes) -> NoReturn:
    line = text[:_LONGEST_LINE].partition(b"\n")[0]
    code = _CODE.match(line)
    if b"\x00" in line or (number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff"))):
        raise DsnError(number, "", "attendu : un fichier ISO-8859-1 ; celui-ci semble être en UTF-16 ou binaire")
    if number == 1 and line.startswith(b"\xef\xbb\xbf"):
        raise DsnError(number, "", "attendu : un fichier ISO-8859-1 ; celui-ci porte une marque UTF-8")
    raise DsnError(number, code.group().decode() if code else "", "attendu : RUBRIQUE,'valeur' sur une ligne")


# -- blocs into records ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Payment:
    """One versement (S21.G00.50) with what its children say."""

    day: date
    periods: set[tuple[str | None, str | None]] = field(default_factory=set)
    contract: str = ""
    amounts: list[_Bloc] = field(default_factory=list)


@dataclass(slots=True)
class _Person:
    """One individu (S21.G00.30)."""

    identifier: str
    certified: bool
    appearance: int
    """1 for the first bloc of this person in the declaration, 2 for the next…"""
    contracts: list[str] = field(default_factory=list)
    payment: _Payment | None = None
    occurrences: Counter[tuple[str, date, date | None]] = field(default_factory=Counter)


@dataclass(slots=True)
class _Declaration:
    """One declaration (S20.G00.05) and the establishment it is about."""

    bloc: _Bloc
    kind: str
    fraction: str
    version: int
    month: Month
    siren: str = ""
    document: DocumentRef | None = None
    siret: str = ""
    person: _Person | None = None
    record_count: int = 0
    seen: set[int] = field(default_factory=set)
    repeated: Counter[int] = field(default_factory=Counter)

    def appearance(self, identifier: str) -> int:
        # Base 36 holds a NIR or NTT exactly and takes half the memory of the text.
        number = int(identifier, 36)
        if number in self.seen:
            self.repeated[number] += 1
        self.seen.add(number)
        return 1 + self.repeated.get(number, 0)


class _Reader:
    """The state of the file between two blocs. Parents come before children, so each bloc finds its own."""

    def __init__(self) -> None:
        self._header = self._sender = False
        self._declarations = 0
        self._declaration: _Declaration | None = None
        self._documents: set[tuple[bytes, int]] = set()
        self._end: _Bloc | None = None
        self._last_line = 1
        self._takers: dict[bytes, Callable[[_Bloc], Iterator[Item]]] = {
            b"S20.G00.05": self._take_declaration,
            b"S21.G00.30": self._take_person,
            b"S21.G00.50": self._take_payment,
            b"S90.G00.90": self._take_end,
        }
        self._notes: dict[bytes, Callable[[_Bloc], None]] = {
            b"S10.G00.00": self._note_header,
            b"S10.G00.01": self._note_sender,
            b"S21.G00.06": self._note_company,
            b"S21.G00.11": self._note_establishment,
            b"S21.G00.40": self._note_contract,
            b"S21.G00.51": self._note_remuneration,
            b"S21.G00.58": self._note_net,
        }

    def take(self, bloc: _Bloc) -> Iterator[Item]:
        """Take the next bloc; yield the items that it completes."""
        self._last_line = bloc.first_line + len(bloc.rubrics) - 1
        if not self._header and bloc.code != b"S10.G00.00":
            raise DsnError(bloc.first_line, bloc.name(next(iter(bloc.rubrics))), "attendu : le bloc S10.G00.00 d'abord")
        if self._end is not None:
            raise DsnError(bloc.first_line, bloc.name(next(iter(bloc.rubrics))), "rien n'est attendu après S90.G00.90")
        note = self._notes.get(bloc.code)
        if note is not None:
            note(bloc)
            return
        yield from self._takers[bloc.code](bloc)

    def finish(self) -> None:
        """Check that the file came to its end."""
        if self._end is None:
            raise DsnError(self._last_line, "S90.G00.90.001", "fichier incomplet : le total final n'est pas venu")

    # S10: the sending

    def _note_header(self, bloc: _Bloc) -> None:
        if self._header:
            bloc.refuse(next(iter(bloc.rubrics)), "bloc en double : un seul envoi par fichier")
        if bloc.first_line != 1:
            bloc.refuse(next(iter(bloc.rubrics)), "attendu : le bloc S10.G00.00 en tête du fichier")
        if bloc.required(b"006") not in NORMS:
            bloc.refuse(b"006", f"attendu : une norme lue par ce lecteur ({', '.join(sorted(NORMS))})")
        self._header = True

    def _note_sender(self, bloc: _Bloc) -> None:
        if self._sender:
            bloc.refuse(next(iter(bloc.rubrics)), "bloc en double : un seul émetteur par fichier")
        bloc.match(b"001", re.compile(r"\d{9}"), "un SIREN de 9 chiffres")
        self._sender = True

    # S20: the declaration

    def _take_declaration(self, bloc: _Bloc) -> Iterator[Item]:
        if not self._sender:
            bloc.refuse(next(iter(bloc.rubrics)), "attendu : l'émetteur S10.G00.01 avant la première déclaration")
        yield from self._close_declaration()
        if bloc.required(b"001") != "01":
            bloc.refuse(b"001", "attendu : 01 (DSN mensuelle) ; les signalements ne portent pas de montant net social")
        kind = bloc.required(b"002")
        if kind not in _KINDS:
            bloc.refuse(b"002", f"attendu : un type de déclaration parmi {', '.join(_KINDS)}")
        version = int(bloc.match(b"004", _ORDER, f"un numéro d'ordre de 1 à {MAX_VERSION}"))
        if not 1 <= version <= MAX_VERSION:
            bloc.refuse(b"004", f"attendu : un numéro d'ordre de 1 à {MAX_VERSION}")
        fraction = bloc.match(b"003", _FRACTION, "deux chiffres, fraction puis nombre de fractions, par exemple 11")
        if fraction[0] > fraction[1]:
            bloc.refuse(b"003", "attendu : une fraction qui ne dépasse pas le nombre de fractions")
        month = bloc.date(b"005")
        if month.day != 1:
            bloc.refuse(b"005", "attendu : le premier jour du mois principal déclaré, 01MMAAAA")
        self._declaration = _Declaration(bloc, kind, fraction, version, Month.of(month))
        self._declarations += 1

    def _close_declaration(self) -> Iterator[Item]:
        declaration = self._declaration
        if declaration is None:
            return
        yield from self._close_payment()
        if declaration.document is None:
            declaration.bloc.refuse(b"001", "déclaration sans établissement : S21.G00.06 puis S21.G00.11 attendus")
        yield DocumentSeal(document=declaration.document, record_count=declaration.record_count)
        self._declaration = None

    def _open(self, bloc: _Bloc) -> _Declaration:
        if self._declaration is None:
            bloc.refuse(next(iter(bloc.rubrics)), "attendu : une déclaration S20.G00.05 avant ce bloc")
        return self._declaration

    # S21: the establishment

    def _note_company(self, bloc: _Bloc) -> None:
        declaration = self._open(bloc)
        if declaration.siren:
            bloc.refuse(next(iter(bloc.rubrics)), "bloc en double : une seule entreprise par déclaration")
        declaration.siren = bloc.match(b"001", re.compile(r"\d{9}"), "un SIREN de 9 chiffres")

    def _note_establishment(self, bloc: _Bloc) -> None:
        declaration = self._open(bloc)
        if not declaration.siren:
            bloc.refuse(next(iter(bloc.rubrics)), "attendu : l'entreprise S21.G00.06 avant l'établissement")
        if declaration.document is not None:
            bloc.refuse(next(iter(bloc.rubrics)), "bloc en double : un seul établissement par déclaration")
        declaration.siret = declaration.siren + bloc.match(b"001", re.compile(r"\d{5}"), "un NIC de 5 chiffres")
        declaration.document = DocumentRef(
            document_id=_identifier("document", declaration.siret, str(declaration.month), declaration.fraction),
            version=declaration.version,
        )
        key = (declaration.document.document_id, declaration.version)
        if key in self._documents:
            bloc.refuse(b"001", "déclaration déjà présente dans ce fichier (établissement, mois, fraction, ordre)")
        self._documents.add(key)

    # S21: the person, contracts and payments

    def _take_person(self, bloc: _Bloc) -> Iterator[Item]:
        declaration = self._open(bloc)
        if declaration.document is None:
            bloc.refuse(next(iter(bloc.rubrics)), "attendu : l'établissement S21.G00.11 avant le premier individu")
        yield from self._close_payment()
        identifier = bloc.value(b"001")
        if identifier is not None:
            if not is_valid_nir(identifier):
                bloc.refuse(b"001", "attendu : un NIR de 13 caractères (Corse : 2A ou 2B)")
        else:
            if b"020" not in bloc:
                bloc.refuse(b"001", "attendu : un NIR (S21.G00.30.001), ou un NTT (S21.G00.30.020)")
            identifier = bloc.match(b"020", _NTT, "un NTT : 1 ou 2, le SIREN, puis 1 à 30 lettres ou chiffres")
        certified = b"001" in bloc and is_permanent_nir(identifier)
        declaration.person = _Person(identifier, certified, declaration.appearance(identifier))

    def _person(self, bloc: _Bloc) -> _Person:
        declaration = self._open(bloc)
        if declaration.person is None:
            bloc.refuse(next(iter(bloc.rubrics)), "attendu : un individu S21.G00.30 avant ce bloc")
        return declaration.person

    def _note_contract(self, bloc: _Bloc) -> None:
        person = self._person(bloc)
        if b"009" in bloc:
            person.contracts.append(_contract(bloc, b"009"))

    def _take_payment(self, bloc: _Bloc) -> Iterator[Item]:
        person = self._person(bloc)
        yield from self._close_payment()
        person.payment = _Payment(bloc.date(b"001"))

    def _payment(self, bloc: _Bloc) -> _Payment:
        payment = self._person(bloc).payment
        if payment is None:
            bloc.refuse(next(iter(bloc.rubrics)), "attendu : un versement S21.G00.50 avant ce bloc")
        return payment

    def _note_remuneration(self, bloc: _Bloc) -> None:
        payment = self._payment(bloc)
        period = bloc.value(b"001"), bloc.value(b"002")
        if period not in payment.periods:
            bloc.date(b"001")
            bloc.date(b"002")
            payment.periods.add(period)
        if not payment.contract and b"010" in bloc:
            payment.contract = _contract(bloc, b"010")

    def _note_net(self, bloc: _Bloc) -> None:
        payment = self._payment(bloc)
        if bloc.required(b"003") == MONTANT_NET_SOCIAL:
            payment.amounts.append(bloc)

    def _close_payment(self) -> Iterator[Item]:
        """Yield the records of the payment just read: its children are all known now."""
        declaration = self._declaration
        person = declaration.person if declaration is not None else None
        if declaration is None or person is None or person.payment is None:
            return
        payment, person.payment = person.payment, None
        for bloc in payment.amounts:
            if declaration.kind in (_NEANT, _ANNULE_ET_REMPLACE_NEANT):
                bloc.refuse(b"003", "aucun montant n'est attendu dans une déclaration « néant »")
            record = _record(declaration, person, payment, bloc)
            # « Annule » takes the whole declaration back, whatever it repeats.
            if declaration.kind != _ANNULE:
                declaration.record_count += 1
                yield record

    # S90: the totals

    def _take_end(self, bloc: _Bloc) -> Iterator[Item]:
        if self._declarations == 0:
            bloc.refuse(next(iter(bloc.rubrics)), "attendu : au moins une déclaration S20.G00.05")
        yield from self._close_declaration()
        lines = bloc.first_line + len(bloc.rubrics) - 1
        total = re.compile(r"\d{1,12}")
        if int(bloc.match(b"001", total, "un nombre de rubriques")) != lines:
            bloc.refuse(b"001", f"attendu : le nombre de rubriques du fichier, soit {lines}")
        if int(bloc.match(b"002", total, "un nombre de déclarations")) != self._declarations:
            bloc.refuse(b"002", f"attendu : le nombre de déclarations du fichier, soit {self._declarations}")
        self._end = bloc


def _contract(bloc: _Bloc, rubric: bytes) -> str:
    return bloc.match(rubric, _CONTRACT, "un numéro de contrat de 1 à 20 caractères")


def _record(declaration: _Declaration, person: _Person, payment: _Payment, bloc: _Bloc) -> ResourceRecord:
    corrected = _corrected_day(payment, bloc)
    contract = payment.contract or (person.contracts[0] if len(person.contracts) == 1 else "")
    key = (contract, payment.day, corrected)
    person.occurrences[key] += 1
    return ResourceRecord(
        record_id=_identifier(
            "record",
            declaration.siret,
            str(declaration.month),
            declaration.fraction,
            contract,
            payment.day.isoformat(),
            corrected.isoformat() if corrected else "",
            f"{person.appearance}.{person.occurrences[key]}",
        ),
        version=declaration.version,
        nir=person.identifier if person.certified else None,
        ntt=None if person.certified else person.identifier,
        flux_source=FluxSource.DSN,
        declarant=declaration.siret,
        numero_contrat=contract,
        nature=NatureRessource.SALAIRE,
        date_versement=payment.day,
        mois_rattachement=Month.of(corrected or payment.day),
        montant_net_social_cents=_cents(bloc),
        mode=Mode.DIFFERENTIEL if corrected else Mode.INITIAL,
        document=declaration.document,
    )


def _corrected_day(payment: _Payment, bloc: _Bloc) -> date | None:
    """The earlier payment that an amount corrects, or None when it belongs to this payment.

    A payment is one day: the dates of a correction are equal, and earlier than this payment. Dates that are a pay
    period (those of a remuneration of this payment, or any stretch of several days) say when the work was done, not
    when an earlier payment was made, and the amount counts for the month in which it is paid.
    """
    if b"001" not in bloc and b"002" not in bloc:
        return None
    start, end = bloc.date(b"001"), bloc.date(b"002")
    if end < start:
        bloc.refuse(b"002", "attendu : une date de fin qui ne précède pas la date de début")
    if start != end or start == payment.day or (bloc.value(b"001"), bloc.value(b"002")) in payment.periods:
        return None
    if start > payment.day:
        bloc.refuse(b"001", "attendu : la date d'un versement antérieur, ou la période de paie")
    return start


def _cents(bloc: _Bloc) -> int:
    text = bloc.match(b"004", _AMOUNT, "un montant à deux décimales, par exemple 1215.83 ou -120.50")
    cents = int(text.replace(".", "", 1))
    if abs(cents) > MAX_CENTS:
        bloc.refuse(b"004", "attendu : un montant d'au plus 100 milliards d'euros")
    return cents


def _identifier(kind: str, *parts: str) -> bytes:
    """16 bytes that the same parts always give. The person is never a part.

    A NIR has few enough possible values to be found again from an unkeyed hash, and the server stores identifiers in
    clear; the person belongs to a record's identity anyway.
    """
    return hashlib.sha256("\x1f".join((f"solidarite.dsn.{kind}.v1", *parts)).encode()).digest()[:16]
