"""Builds small DSN files for the tests: every part has a default, S90 counts what is there."""

from __future__ import annotations

from collections.abc import Iterable

NIR, OTHER_NIR = "2840575999101", "1901175999102"
Rubrics = list[tuple[str, str]]


def header(norm: str = "P26V01") -> Rubrics:
    return [
        ("S10.G00.00.001", "Paie Libre"),
        ("S10.G00.00.005", "01"),
        ("S10.G00.00.006", norm),
        ("S10.G00.01.001", "812345678"),
        ("S10.G00.01.003", "BOULANGERIE DE L'ÉTOILE"),
    ]


def declaration(
    *persons: Rubrics,
    kind: str = "01",
    fraction: str = "11",
    order: str = "1",
    month: str = "01082026",
    siren: str = "812345678",
    nic: str = "00013",
    nature: str = "01",
) -> Rubrics:
    return [
        ("S20.G00.05.001", nature),
        ("S20.G00.05.002", kind),
        ("S20.G00.05.003", fraction),
        ("S20.G00.05.004", order),
        ("S20.G00.05.005", month),
        ("S20.G00.05.007", "04092026"),
        ("S21.G00.06.001", siren),
        ("S21.G00.06.002", "00099"),
        ("S21.G00.11.001", nic),
        ("S21.G00.11.002", "1071C"),
        *[rubric for person in persons for rubric in person],
    ]


def person(
    *payments: Rubrics, nir: str | None = NIR, ntt: str | None = None, contracts: Iterable[str] = ("C1",)
) -> Rubrics:
    return [
        *([("S21.G00.30.001", nir)] if nir else []),
        ("S21.G00.30.002", "D'HAENE"),
        *([("S21.G00.30.020", ntt)] if ntt else []),
        *[rubric for number in contracts for rubric in (("S21.G00.40.001", "02012024"), ("S21.G00.40.009", number))],
        *[rubric for payment in payments for rubric in payment],
    ]


def payment(
    *amounts: Rubrics,
    paid: str = "31082026",
    period: tuple[str, str] = ("01082026", "31082026"),
    contract: str | None = "C1",
) -> Rubrics:
    remuneration = [("S21.G00.51.001", period[0]), ("S21.G00.51.002", period[1])]
    if contract:
        remuneration.append(("S21.G00.51.010", contract))
    return [
        ("S21.G00.50.001", paid),
        ("S21.G00.50.002", "1350.44"),
        *remuneration,
        ("S21.G00.51.011", "001"),
        ("S21.G00.53.001", "01"),
        *remuneration,
        ("S21.G00.51.011", "002"),
        *[rubric for amount in amounts for rubric in amount],
        ("S21.G00.78.001", "03"),
    ]


def net(amount: str = "1000.00", dates: tuple[str, str] | None = None, kind: str = "03") -> Rubrics:
    period = [("S21.G00.58.001", dates[0]), ("S21.G00.58.002", dates[1])] if dates else []
    return [*period, ("S21.G00.58.003", kind), ("S21.G00.58.004", amount)]


def lines(*parts: Rubrics, declarations: int | None = None) -> list[str]:
    """The lines of a whole file, with the totals that its content calls for."""
    content = [rubric for part in parts for rubric in part]
    counted = sum(code == "S20.G00.05.001" for code, _ in content) if declarations is None else declarations
    content += [("S90.G00.90.001", str(len(content) + 2)), ("S90.G00.90.002", str(counted))]
    return [f"{code},'{value}'" for code, value in content]


def encode(text_lines: Iterable[str], end: str = "\r\n") -> bytes:
    return "".join(line + end for line in text_lines).encode("latin-1")


def dsn(*declarations: Rubrics) -> bytes:
    """A whole, valid file."""
    return encode(lines(header(), *declarations))
