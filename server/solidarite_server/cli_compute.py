"""`solidarite compute`: the engine on a file of cases, without a server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from solidarite_server.engine import Case, columns_from, compute_columns
from solidarite_server.engine import explain as explain_one
from solidarite_server.engine.oracle_cases import CaseError, case_from
from solidarite_server.legislation import LegislationOptions

_BLOCK = 2_000
_OPTIONS = {"law": LegislationOptions.law, "openfisca": LegislationOptions.openfisca}


def compute(
    input: Annotated[Path, typer.Option("--input", metavar="CAS.jsonl[.gz]", help="Un cas par ligne.")],
    output: Annotated[Path, typer.Option("--output", metavar="SORTIE.jsonl[.gz]", help="Un résultat par ligne.")],
    options: Annotated[
        str, typer.Option("--options", help="law : la loi ; openfisca : les simplifications d'OpenFisca-France.")
    ] = "law",
    explain: Annotated[bool, typer.Option("--explain", help="Ajouter les étapes du calcul.")] = False,
) -> int:
    """Calculer RSA et prime d'activité d'un fichier de cas, dans l'ordre, sans serveur.

    Un cas illisible donne une ligne « error » et un message (ligne, champ) ; les autres sont calculés. Code 1 alors.
    """
    if options not in _OPTIONS:
        raise typer.BadParameter("law ou openfisca", param_hint="--options")
    chosen = _OPTIONS[options]()
    failures = 0
    with _open(input, "rt") as lines, _open(output, "wt") as out:
        for block in _blocks(lines):
            failures += _compute_block(block, out, chosen, explain)
    if failures:
        typer.echo(f"{failures} cas refusés ; les autres sont calculés.", err=True)
    return 1 if failures else 0


def _open(path: Path, mode: str) -> IO[str]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    return opener(path, mode, encoding="utf-8")  # type: ignore[no-any-return]


def _blocks(lines: IO[str]) -> Iterator[list[tuple[int, str]]]:
    block: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            block.append((number, line))
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block


def _compute_block(block: list[tuple[int, str]], out: IO[str], options: LegislationOptions, explain: bool) -> int:
    """Write one line a case, in order; how many could not be read."""
    results: list[dict[str, Any]] = []
    cases: list[tuple[int, Case]] = []
    for number, line in block:
        result: dict[str, Any] = {"id": None}
        try:
            content = json.loads(line)
            result["id"] = content.get("id") if isinstance(content, dict) else None
            foyer, ressources, mois = case_from(content)
            cases.append((len(results), Case(foyer, ressources, mois, mois)))
        except CaseError as error:
            _refuse(result, number, str(error))
        except ValueError:
            _refuse(result, number, "un objet JSON est attendu")
        results.append(result)
    columns = compute_columns(columns_from([case for _, case in cases], options), options)
    for row, (place, case) in enumerate(cases):
        results[place].update(
            rsa=int(columns.rsa_cents[row]) / 100,
            ppa=int(columns.ppa_cents[row]) / 100,
            ppa_nette_crds=int(columns.ppa_nette_crds_cents[row]) / 100,
        )
        if explain:
            results[place]["steps"] = _steps(case, options)
    for result in results:
        out.write(json.dumps(result, ensure_ascii=False) + "\n")
    return len(results) - len(cases)


def _refuse(result: dict[str, Any], number: int, message: str) -> None:
    result["error"] = message
    typer.echo(f"Ligne {number} : {message}", err=True)


def _steps(case: Case, options: LegislationOptions) -> dict[str, list[dict[str, Any]]]:
    found = explain_one(case.foyer, case.ressources, case.mois_droit, options=options)
    return {
        name: [
            {
                "label": step.label,
                "amount": str(step.amount_cents / 100),
                "article": step.article,
                "month": None if step.mois is None else str(step.mois),
                "person": step.personne or None,
                "parameters": {p.name: p.value for p in step.parameters},
            }
            for step in steps
        ]
        for name, steps in (("rsa", found.rsa_steps), ("ppa", found.ppa_steps))
    }
