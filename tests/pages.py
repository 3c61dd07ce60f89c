"""Pages of docs whose commands are played: each command of a `console` block, with the lines shown under it."""

from __future__ import annotations

import re


def commands(page: str) -> list[tuple[str, list[str]]]:
    """Each command of a page with the lines shown under it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def flat(text: str) -> str:
    """Cells and spaces as one: tables are as wide as the terminal."""
    return " ".join(text.replace("│", " ").replace("\xa0", " ").replace("\u202f", " ").split())
