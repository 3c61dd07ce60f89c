"""Reports as one HTML page each, in French, with plots in SVG: no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from solidarite_server.simulation import calibration, prefill_errors, reform

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { padding: .25rem .6rem; white-space: nowrap; border-bottom: 1px solid #d0d0d0; text-align: right; }
th:first-child, td:first-child { text-align: left; }
th:last-child.note { text-align: left; }
td.note { white-space: normal; text-align: left; color: #555; font-size: .85rem; }
svg text { font: 12px system-ui, sans-serif; }
.remarque { border-left: 4px solid #8a5a00; padding-left: .8rem; }
"""
_WIDTH, _LEFT, _ROW = 760, 290, 26
UP, DOWN = "#2a6f4e", "#a63a2b"


def euros(cents: float, decimals: int = 2) -> str:
    """French rendering of an amount given in cents."""
    return number(cents / 100, decimals) + "\u00a0€"


def millions(cents: float) -> str:
    """An amount of the country, in millions of euros."""
    return number(cents / 1e8, 0) + "\u00a0M€"


def number(value: float, decimals: int = 0) -> str:
    """French rendering of a number."""
    text = f"{abs(value):,.{decimals}f}".replace(",", "\u202f").replace(".", ",")
    return ("−" if value < 0 and text.strip("0,\u202f") else "") + text


def percent(share: float, decimals: int = 1, *, signed: bool = False) -> str:
    """A share as a percentage."""
    plus = "+" if signed and share > 0 else ""
    return plus + number(share * 100, decimals) + "\u00a0%"


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page."""
    body = "\n".join(parts)
    return (
        f'<!DOCTYPE html>\n<html lang="fr">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, notes: bool = False) -> str:
    """A table; with `notes`, the last column is running text."""
    note = ' class="note"' if notes else ""
    head = "".join(f'<th scope="col"{note if h == heads[-1] else ""}>{escape(h)}</th>' for h in heads)
    lines = []
    for row in rows:
        cells = [f"<td>{escape(cell)}</td>" for cell in row]
        if notes:
            cells[-1] = f'<td class="note">{escape(row[-1])}</td>'
        lines.append(f"<tr>{''.join(cells)}</tr>")
    body = "".join(lines)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def bars(title: str, rows: Sequence[tuple[str, Sequence[float], str]]) -> str:
    """Horizontal bars from zero, to the right when positive, to the left when negative: (label, values, text)."""
    values = [value for _, row, _ in rows for value in row]
    largest = max((abs(value) for value in values), default=0.0) or 1.0
    negative = any(value < 0 for value in values)
    room = _WIDTH - _LEFT - 120
    zero = _LEFT + (room / 2 if negative else 0)
    scale = (room / 2 if negative else room) / largest
    marks = []
    for place, (label, row, text) in enumerate(rows):
        y = place * _ROW + 4
        marks.append(f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        for value in row:
            x = zero + min(0.0, value * scale)
            colour = UP if value >= 0 else DOWN
            marks.append(f'<rect x="{x:.1f}" y="{y}" width="{abs(value) * scale:.1f}" height="18" fill="{colour}"/>')
        end = zero + max(0.0, *row) * scale
        marks.append(f'<text x="{end + 6:.1f}" y="{y + 13}">{escape(text)}</text>')
    height = len(rows) * _ROW + 4
    axis = f'<line x1="{zero}" y1="0" x2="{zero}" y2="{height}" stroke="#1b1b1b"/>'
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg role="img" aria-label="{escape(title)}" '
        f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">{axis}{"".join(marks)}</svg></figure>'
    )


def reform_page(outcome: reform.Comparison, overlay_text: str) -> str:
    """The report of a reform."""
    parts = [f"<pre>{escape(overlay_text.strip() or '(aucun changement)')}</pre>"]
    parts += [f'<p class="remarque">{escape(remark)}</p>' for remark in outcome.remarks]
    totals, *groups = reform_tables(outcome)
    parts.append(table(*totals))
    for dimension, shown in zip(_DIMENSIONS, groups, strict=True):
        rows = [group for group in outcome.groups if group.dimension == dimension]
        parts.append(
            bars(
                f"Variation mensuelle moyenne, {_DIMENSIONS[dimension]}",
                [(g.label, (g.variation_moyenne_cents / 100,), euros(g.variation_moyenne_cents)) for g in rows],
            )
        )
        parts.append(
            bars(
                f"Part des foyers gagnants (à droite) et perdants (à gauche), {_DIMENSIONS[dimension]}",
                [
                    (
                        g.label,
                        (g.gagnants / max(1, g.foyers), -g.perdants / max(1, g.foyers)),
                        f"{percent(g.gagnants / max(1, g.foyers))} / {percent(g.perdants / max(1, g.foyers))}",
                    )
                    for g in rows
                ],
            )
        )
        parts.append(table(*shown))
    parts.append(
        f"<p>{number(outcome.foyers)} foyers synthétiques, graine {outcome.seed} : les mêmes donnent les mêmes "
        "chiffres. Les dixièmes sont ceux des personnes, rangées par niveau de vie avant réforme (revenus avant impôt, "
        "prestations et droits compris, par unité de consommation). Le recours ne change pas de règle, et personne ne "
        "change de comportement. Les écarts du pays synthétique avec les chiffres publiés : docs/population.md.</p>"
    )
    return page("Réforme : coût, gagnants et perdants", parts)


_DIMENSIONS = {reform.DECILE: "par dixième de niveau de vie", reform.FAMILLE: "par type de famille"}

Shown = tuple[str, Sequence[str], list[tuple[str, ...]]]
"""A table to show: its title, heads and rows."""


def reform_tables(outcome: reform.Comparison) -> list[Shown]:
    """The tables of a reform: totals, then groups by each dimension."""
    totals = [
        _amounts("RSA versé dans le mois", outcome.rsa_before, outcome.rsa_after),
        _amounts("Prime d'activité versée dans le mois", outcome.ppa_before, outcome.ppa_after),
        _amounts("Ensemble", outcome.rsa_before + outcome.ppa_before, outcome.rsa_after + outcome.ppa_after),
        (
            "Foyers bénéficiaires",
            number(outcome.beneficiaires_before),
            number(outcome.beneficiaires_after),
            number(outcome.beneficiaires_after - outcome.beneficiaires_before),
            "",
        ),
    ]
    tables: list[Shown] = [
        (f"Droit de {outcome.mois_droit}, France entière", ("", "avant", "après", "écart", "écart par an"), totals)
    ]
    heads = ("", "foyers", "gagnants", "perdants", "variation moyenne", "coût annuel", "niveau de vie")
    for dimension, title in _DIMENSIONS.items():
        rows: list[tuple[str, ...]] = [
            (
                g.label,
                number(g.foyers),
                f"{number(g.gagnants)} ({percent(g.gagnants / max(1, g.foyers))})",
                f"{number(g.perdants)} ({percent(g.perdants / max(1, g.foyers))})",
                euros(g.variation_moyenne_cents),
                millions(g.cout_annuel_cents),
                euros(g.niveau_de_vie_cents, 0),
            )
            for g in outcome.groups
            if g.dimension == dimension
        ]
        tables.append((f"Gagnants et perdants, {title}", heads, rows))
    return tables


def _amounts(label: str, before: int, after: int) -> tuple[str, ...]:
    return label, millions(before), millions(after), millions(after - before), millions(12 * (after - before))


def calibration_page(found: Sequence[calibration.Comparison], foyers: int, seed: int) -> str:
    """The report of the calibration."""
    far = [row for row in found if abs(row.gap) > calibration.FAR]
    parts = [
        f"<p>{number(foyers)} foyers synthétiques, graine {seed}. Chaque chiffre est celui que donne le moteur sur la "
        "population de son mois, à côté du chiffre publié.</p>",
        bars(
            "Écart avec le chiffre publié",
            [(row.label, (row.gap,), percent(row.gap, signed=True)) for row in found],
        ),
        table(
            "Chiffres côte à côte",
            ("", "publié", "année", "synthétique", "mois calculé", "écart", "source"),
            [
                (
                    row.label,
                    value_text(row.published, row.unit),
                    str(row.year),
                    value_text(row.found, row.unit),
                    str(row.mois),
                    percent(row.gap, signed=True),
                    row.source,
                )
                for row in found
            ],
            notes=True,
        ),
        f"<h2>Où l'on est loin (plus de {percent(calibration.FAR, 0)})</h2>",
        "<ul>" + "".join(f"<li>{escape(row.label)} : {percent(row.gap, signed=True)}</li>" for row in far) + "</ul>"
        if far
        else "<p>Nulle part.</p>",
    ]
    return page("Calage de la population synthétique", parts)


def value_text(value: float, unit: str) -> str:
    """A figure with its unit."""
    if unit == "part":
        return percent(value)
    if unit == "euros par an":
        return number(value / 1e9, 2) + "\u00a0Md€"
    return number(value) + ("\u00a0€" if unit == "euros" else "")


def prefill_page(outcome: prefill_errors.Outcome) -> str:
    """The report of what prefilling avoids."""
    shown = ((prefill_errors.WITHOUT, outcome.without), (prefill_errors.WITH, outcome.with_prefill))
    parts = [
        table(
            f"Déclarations de {outcome.mois_declaration}, foyers qui demandent un droit",
            ("", *(label for label, _ in shown), "évité"),
            prefill_rows(outcome),
        ),
        bars(
            "Indus et rappels du trimestre, en millions d'euros",
            [
                (f"{name}, {label.lower()}", (cents / 1e8,), millions(cents))
                for name, field in (("Indus", "indu_cents"), ("Rappels", "rappel_cents"))
                for label, side in shown
                for cents in (getattr(side, field),)
            ],
        ),
        table(
            "Hypothèses d'erreur",
            ("hypothèse", "valeur", "source"),
            [(a.label, percent(a.share), a.source) for a in outcome.assumptions],
            notes=True,
        ),
        f"<p>{number(outcome.foyers)} foyers synthétiques, graine {outcome.seed}. Les droits sont calculés par le "
        "moteur sur les ressources vraies, puis sur celles de chaque façon de déclarer.</p>",
    ]
    return page("Préremplissage : erreurs, indus et rappels évités", parts)


def prefill_rows(outcome: prefill_errors.Outcome) -> list[tuple[str, str, str, str]]:
    """The table of the outcome: label, without prefilling, with it, what is avoided."""
    a, b = outcome.without, outcome.with_prefill
    return [
        (
            "Déclarations",
            number(a.declarations),
            number(b.declarations),
            "",
        ),
        (
            "Déclarations avec une erreur de ressources",
            f"{number(a.erronees)} ({percent(a.erronees / max(1, a.declarations))})",
            f"{number(b.erronees)} ({percent(b.erronees / max(1, b.declarations))})",
            number(a.erronees - b.erronees),
        ),
        (
            "Déclarations dont un droit est faux",
            f"{number(a.droits_faux)} ({percent(a.droits_faux / max(1, a.declarations))})",
            f"{number(b.droits_faux)} ({percent(b.droits_faux / max(1, b.declarations))})",
            number(a.droits_faux - b.droits_faux),
        ),
        (
            "Indus du trimestre",
            f"{millions(a.indu_cents)} ({percent(a.indu_cents / max(1, a.du_cents))} du dû)",
            f"{millions(b.indu_cents)} ({percent(b.indu_cents / max(1, b.du_cents))} du dû)",
            millions(a.indu_cents - b.indu_cents),
        ),
        (
            "Rappels du trimestre",
            f"{millions(a.rappel_cents)} ({percent(a.rappel_cents / max(1, a.du_cents))} du dû)",
            f"{millions(b.rappel_cents)} ({percent(b.rappel_cents / max(1, b.du_cents))} du dû)",
            millions(a.rappel_cents - b.rappel_cents),
        ),
    ]
