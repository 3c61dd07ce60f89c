"""The amounts of cases as the lines that the rules read: sorted, summed, of the months read. Compiled as the rules."""

from __future__ import annotations

from solidarite_server.engine.columns import (
    CA_VENTE,
    CAPITAUX_ANNEE,
    CAPITAUX_N2,
    NON_COMPTEES,
    PROFIT,
    PROFIT_POSITIF,
    WINDOW,
)
from solidarite_server.engine.compiled import entry, rule

BENEFICE, REVENUS_CAPITAL = 130, 131
"""Categories of facts of a year, beside those of the engine: profit; rents and investment income."""


@entry
def lay_amounts(sources, cases, amounts, firsts, read, lines, counts):
    """The engine's lines of every case, sorted and summed; counts[c] is how many case c has.

    `firsts` holds the Month.index of the window's first month, `read` the months read, as places in the window.
    """
    start = end = 0
    for c in range(cases.shape[0]):
        first, low, high = firsts[c], read[c, 0], read[c, 1]
        shortcuts = high - low == WINDOW
        begin = end
        declared = (first + WINDOW - 1) // 12
        stop = start + cases[c]["amounts"]
        for i in range(start, stop):
            category, person, period = amounts[i]["category"], amounts[i]["person"], amounts[i]["period"]
            cents = amounts[i]["cents"]
            if category <= NON_COMPTEES:
                if low <= period - first < high:
                    end = _put(lines, begin, end, person, category, period - first, cents)
            elif category < BENEFICE:
                end = _put(lines, begin, end, person, category, -1, cents)
            elif category == REVENUS_CAPITAL:
                if shortcuts and period == declared - 2:
                    end = _put(lines, begin, end, person, CAPITAUX_N2, -1, cents)
                for k in range(low, high):
                    if period == (first + k) // 12:
                        end = _put(lines, begin, end, person, CAPITAUX_ANNEE, k, cents)
                    if period == (first + k) // 12 - 2:
                        end = _put(lines, begin, end, person, CAPITAUX_N2, k, cents)
            else:
                last = period == declared - 2 and not _profit_of(amounts, start, stop, person, declared - 1, False)
                if period == declared - 1 or last:
                    end = _put(lines, begin, end, person, PROFIT, -1, max(0, cents))
                if shortcuts and cents > 0:
                    # The last positive profit among those of the year, of the year before and of the one before it.
                    for k in range(low, high):
                        year = (first + k) // 12
                        later = False
                        for y in range(period + 1, year + 1):
                            later = later or _profit_of(amounts, start, stop, person, y, True)
                        if year - 2 <= period <= year and not later:
                            end = _put(lines, begin, end, person, PROFIT_POSITIF, k, cents)
        kept = begin
        for i in range(begin, end):
            # A turnover of zero is declared too: it takes the place of the profit.
            if lines[i]["cents"] != 0 or lines[i]["category"] >= CA_VENTE:
                _copy(lines, i, kept)
                kept += 1
        end = kept
        counts[c] = end - begin
        start = stop


@rule
def _profit_of(amounts, start, stop, person, year, positive):
    """Whether a person has a profit of that year."""
    for i in range(start, stop):
        if amounts[i]["category"] == BENEFICE and amounts[i]["person"] == person and amounts[i]["period"] == year:
            return amounts[i]["cents"] > 0 or not positive
    return False


@rule
def _put(lines, begin, end, person, category, k, cents):
    """Add an amount at its place among the lines of the case; returns where they end."""
    i = end
    while i > begin and _after(lines[i - 1], person, category, k):
        i -= 1
    if i > begin and lines[i - 1]["person"] == person and lines[i - 1]["category"] == category:
        if lines[i - 1]["mois"] == k:
            lines[i - 1]["cents"] += cents
            return end
    for j in range(end, i, -1):
        _copy(lines, j - 1, j)
    lines[i]["person"] = person
    lines[i]["category"] = category
    lines[i]["mois"] = k
    lines[i]["cents"] = cents
    return end + 1


@rule
def _after(line, person, category, k):
    """Whether a line comes after (person, category, month)."""
    if line["person"] != person:
        return line["person"] > person
    if line["category"] != category:
        return line["category"] > category
    return line["mois"] > k


@rule
def _copy(lines, source, target):
    """Copy a line over another."""
    lines[target]["person"] = lines[source]["person"]
    lines[target]["category"] = lines[source]["category"]
    lines[target]["mois"] = lines[source]["mois"]
    lines[target]["cents"] = lines[source]["cents"]
