"""What a source hands over: resource records, and the seals that make a document take effect.

Frozen, checked on construction, and silent about the value refused: a validation error names the field and what is
accepted, never the NIR or the amount that was given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from functools import total_ordering
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

FIRST_YEAR, LAST_YEAR = 1990, 2099
MAX_CENTS = 10**13
"""100 billion euros: the largest amount that the service accepts, either way."""
MAX_VERSION = 2**32 - 1

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_NIR = re.compile(r"[1-478]\d{4}(?:\d{2}|2[AB])\d{6}")
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@total_ordering
@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month between 1990-01 and 2099-12.

    >>> Month.parse("2026-11").index - Month(2026, 7).index
    4
    >>> str(Month(2026, 7))
    '2026-07'
    """

    year: int
    month: int

    def __post_init__(self) -> None:
        if not (FIRST_YEAR <= self.year <= LAST_YEAR and 1 <= self.month <= 12):
            raise ValueError("un mois entre 1990-01 et 2099-12")

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read `AAAA-MM`; ValueError says the accepted form."""
        if not _MONTH.fullmatch(text):
            raise ValueError("un mois sous la forme AAAA-MM, par exemple 2026-11")
        return cls(int(text[:4]), int(text[5:]))

    @classmethod
    def of(cls, day: date) -> Month:
        """The month that contains a day."""
        return cls(day.year, day.month)

    @classmethod
    def from_index(cls, index: int) -> Month:
        """The inverse of `index`."""
        return cls(index // 12, index % 12 + 1)

    @property
    def index(self) -> int:
        """Months since year 0: year × 12 + month − 1, as columns hold it."""
        return self.year * 12 + self.month - 1

    def __lt__(self, other: Month) -> bool:
        return self.index < other.index

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


class NatureRessource(IntEnum):
    """Category of a resource: the names and numbers of the contract."""

    SALAIRE = 1
    APPRENTISSAGE = 2
    STAGE_FORMATION = 3
    ACTIVITE_PARTIELLE = 4
    BOURSE_RECHERCHE = 5
    INDEMNITE_VOLONTARIAT = 6
    IJSS_MALADIE = 10
    IJSS_ACCIDENT_TRAVAIL = 11
    IJSS_MALADIE_PROFESSIONNELLE = 12
    IJSS_MATERNITE = 13
    IJSS_PATERNITE = 14
    IJSS_ADOPTION = 15
    CHOMAGE = 20
    SECURISATION_PROFESSIONNELLE = 21
    ALLOCATION_SOLIDARITE_SPECIFIQUE = 22
    PRIME_REPRISE_ACTIVITE = 23
    RETRAITE = 30
    INVALIDITE = 31
    RENTE_ATMP = 32
    ALLOCATION_SUPPLEMENTAIRE_INVALIDITE = 33
    RETRAITE_COMBATTANT = 34
    AAH = 40
    COMPLEMENT_AAH = 41
    NON_SALARIE = 50
    MICRO_ENTREPRISE = 51
    PENSION_ALIMENTAIRE = 60
    PRESTATION_COMPENSATOIRE = 61
    GAINS_EXCEPTIONNELS = 62
    INDEMNISATION_AMIANTE = 63
    ETRANGER_TRAVAIL = 64
    ETRANGER_AUTRE = 65
    CAPITAL_FONCIER = 66
    DONS_SECOURS = 67
    BOURSE_ETUDES = 68
    AUTRE = 69

    @property
    def carried_by_records(self) -> bool:
        """Whether a source may send it: the Caf knows the others, or the household declares them."""
        return self < NatureRessource.AAH


class FluxSource(IntEnum):
    """The flow a record comes from."""

    DSN = 1
    PASRAU = 2
    TI = 3


class Mode(IntEnum):
    """What a record does."""

    INITIAL = 1
    DIFFERENTIEL = 2
    """A signed difference, a record of its own, attached to the month of the payment that it corrects."""
    ANNULATION = 3
    """This version cancels the record: it counts for nothing from then on."""


def is_valid_nir(nir: str, key: str | None = None) -> bool:
    """Tell whether 13 characters have the form of a NIR (Corsica 2A, 2B), and carry the two-digit key when given."""
    if not _NIR.fullmatch(nir):
        return False
    return key is None or key == nir_key(nir)


def nir_key(nir: str) -> str:
    """The two-digit key of a well-formed NIR.

    >>> nir_key("2550814168025")
    '38'
    """
    number = int(nir.replace("2A", "19", 1).replace("2B", "18", 1)) if nir[6] in "AB" else int(nir)
    return f"{97 - number % 97:02d}"


def is_permanent_nir(nir: str) -> bool:
    """Whether a well-formed NIR is final: 3, 4, 7 and 8 open numbers given while registration is under way.

    Consumers of the DRM get nothing for a provisional number (REGULATION §1.3): it is sent as a temporary one.
    """
    return nir[0] in "12"


def days_since_epoch(day: date) -> int:
    """Days since 1970-01-01, as columns hold it."""
    return day.toordinal() - _EPOCH_ORDINAL


def _month(value: Any) -> Any:
    return Month.parse(value) if isinstance(value, str) else value


def _identifier(value: Any) -> Any:
    """16 bytes, or 32 hexadecimal digits with or without the dashes of a UUID."""
    if isinstance(value, str):
        try:
            return bytes.fromhex(value.replace("-", ""))
        except ValueError:
            raise ValueError("32 chiffres hexadécimaux") from None
    return value


def _named(enum: type[IntEnum]) -> BeforeValidator:
    """Accept a member's name or number; the message lists neither what was given nor anything personal."""

    def read(value: Any) -> Any:
        if isinstance(value, str):
            name = value.strip().upper()
            if name in enum.__members__:
                return enum[name]
            if name.isdigit() and int(name) in set(enum):
                return enum(int(name))
            raise ValueError("une valeur de la liste documentée")
        return value

    return BeforeValidator(read)


def _name_of(value: IntEnum) -> str:
    return value.name


MonthField = Annotated[Month, BeforeValidator(_month), PlainSerializer(str, return_type=str, when_used="json")]
Identifier16 = Annotated[
    bytes,
    BeforeValidator(_identifier),
    Field(min_length=16, max_length=16),
    PlainSerializer(bytes.hex, return_type=str, when_used="json"),
]
_NAME_IN_JSON = PlainSerializer(_name_of, return_type=str, when_used="json")
NamedNature = Annotated[NatureRessource, _named(NatureRessource), _NAME_IN_JSON]
NamedFlux = Annotated[FluxSource, _named(FluxSource), _NAME_IN_JSON]
NamedMode = Annotated[Mode, _named(Mode), _NAME_IN_JSON]


class Checked(BaseModel):
    """Base of our models: frozen, no unknown field, and errors that never repeat the value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class DocumentRef(Checked):
    """The document, for instance one DSN of one establishment and month, that a record belongs to."""

    document_id: Identifier16
    version: int = Field(ge=1, le=MAX_VERSION)


class DocumentSeal(Checked):
    """Declares that every record of a document version has been sent: from then on it counts as a whole.

    `record_count` is 0 for a declaration « néant » or a cancelled one.
    """

    document: DocumentRef
    record_count: int = Field(ge=0, le=MAX_VERSION)


class ResourceRecord(Checked):
    """One amount paid to one person by one payer.

    Identity: the person, the source and `record_id`. A higher `version` replaces; the same version with the same
    content changes nothing; the same version with other content is refused.

    >>> from datetime import date
    >>> record = ResourceRecord(
    ...     record_id=bytes(16), nir="2840575999101", flux_source=FluxSource.PASRAU, declarant="FRANCETRAVAIL",
    ...     nature=NatureRessource.CHOMAGE, date_versement=date(2026, 8, 3), montant_net_social_cents=91_240)
    >>> str(record.mois_rattachement), record.certified
    ('2026-08', True)
    """

    record_id: Identifier16
    """16 bytes chosen by the source, stable over the versions: a UUID, or a hash of a natural key without the NIR."""
    version: int = Field(default=1, ge=1, le=MAX_VERSION)
    nir: str | None = Field(default=None, pattern=_NIR.pattern + "$", min_length=13, max_length=13)
    """13 characters, Corsica written 2A or 2B. The server keeps a keyed pseudonym only."""
    ntt: str | None = Field(default=None, pattern=r"^[0-9A-Za-z]+$", min_length=11, max_length=40)
    """A temporary number instead of the NIR: the record is kept apart and never prefilled."""
    flux_source: NamedFlux
    declarant: str = Field(pattern=r"^[0-9A-Za-z]+$", min_length=1, max_length=14)
    """SIRET of 14 digits, or the code of a paying body of at most 14 letters and digits."""
    numero_contrat: str = Field(default="", pattern=r"^[ -~]*$", max_length=20)
    nature: NamedNature
    date_versement: date
    mois_rattachement: MonthField
    """The month the amount counts for; the month of `date_versement` when left out."""
    montant_net_social_cents: int = Field(ge=-MAX_CENTS, le=MAX_CENTS)
    """Euro cents, before income tax; negative in a difference."""
    mode: NamedMode = Mode.INITIAL
    document: DocumentRef | None = None

    @model_validator(mode="before")
    @classmethod
    def _attach_to_the_month_of_payment(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("mois_rattachement") is None:
            paid = data.get("date_versement")
            try:
                day = date.fromisoformat(paid) if isinstance(paid, str) else paid
                return {**data, "mois_rattachement": Month.of(day) if isinstance(day, date) else None}
            except ValueError:
                return data  # the date itself is refused, with its own message
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.nir is None) == (self.ntt is None):
            raise ValueError("soit nir, soit ntt")
        if not self.nature.carried_by_records:
            raise ValueError("une nature de SALAIRE à RETRAITE_COMBATTANT : les autres ne sont pas transmises")
        if not FIRST_YEAR <= self.date_versement.year <= LAST_YEAR:
            raise ValueError("une date de versement entre 1990 et 2099")
        return self

    @property
    def certified(self) -> bool:
        """False when the person is known by a temporary number only."""
        return self.nir is not None

    @property
    def person_identifier(self) -> str:
        """The NIR, or the temporary number."""
        return self.nir or self.ntt or ""
