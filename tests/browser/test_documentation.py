"""Every example of docs/frontaux, run as it is written against the real service, in the order of the flow."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from solidarite_server.cli_demo_web import LATE_FILES

from tests.browser.conftest import WEB
from tests.browser.served import Served, served

DOCS = Path(__file__).parents[2] / "docs" / "frontaux"
PAGES = ("preremplir", "droits", "suivre", "corriger", "valider")
GATEWAY = "127.0.0.1:8080"
FOYER = "0000001"
INTERPRETERS = {
    "python": (sys.executable, ".py"),
    "typescript": ("node", ".ts"),
    "sh": ("bash", ".sh"),
    "javascript": ("node", ".mjs"),
}
LANGUAGES = "|".join(INTERPRETERS)
TSCONFIG = '{"extends": "../tsconfig.json", "include": ["*.ts"]}'


@dataclass(frozen=True)
class Example:
    page: str
    language: str
    code: str
    shown: str


def examples(page: str) -> list[Example]:
    """The examples of a page, each with the output shown under it."""
    text = (DOCS / f"{page}.md").read_text("utf-8")
    blocks = re.findall(rf"```({LANGUAGES})\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    return [Example(page, language, code, shown) for language, code, shown in blocks]


def output_of(command: list[str], example: Example, running: Served) -> str:
    """Run an example; when it waits for a notice, a payer corrects an amount."""
    environment = {**os.environ, "JETON": running.service.token(FOYER)}
    with subprocess.Popen(
        command, cwd=WEB, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            return waiting(process, running) if example.page == "suivre" else finished(process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def finished(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


def waiting(process: subprocess.Popen[str], running: Served) -> str:
    """What it says before and after a payer has corrected amounts: the last line is that of a person of September."""
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    running.service.send(*LATE_FILES)
    while "Amina/2026-09/SALAIRE" not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], "it ended before the correction"
    return "".join(lines)


def commands(found: list[Example], address: str, folder: Path) -> list[list[str]]:
    """Write the examples of one language as files of a folder, and say how each is run."""
    interpreter, suffix = INTERPRETERS[found[0].language]
    sources = [folder / f"example{place}{suffix}" for place in range(len(found))]
    for source, example in zip(sources, found, strict=True):
        source.write_text(example.code.replace(GATEWAY, address), "utf-8")
    return [[interpreter, str(source)] for source in (compiled(sources) if suffix == ".ts" else sources)]


def compiled(sources: list[Path]) -> list[Path]:
    """Check the types of TypeScript that stands inside the client's folder, and make it something that Node runs."""
    folder = sources[0].parent
    (folder / "tsconfig.json").write_text(TSCONFIG, "utf-8")
    bundle = ["rolldown", *map(str, sources), "--format", "esm", "--dir", str(folder / "out")]
    for command in (["tsc", "-p", str(folder)], bundle):
        done = subprocess.run(["npx", "--no-install", *command], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    return [folder / "out" / source.with_suffix(".js").name for source in sources]


def flat(text: str) -> str:
    return " ".join(text.replace("\xa0", " ").replace("\u202f", " ").split())


def matches(shown: str, output: str) -> bool:
    """Whether the output is what the page shows; « … » stands for anything."""
    pattern = ".*?".join(re.escape(flat(part)) for part in shown.split("…"))
    return re.fullmatch(pattern.replace(r"\ .*?", r" ?.*?"), flat(output)) is not None


@pytest.fixture
def scratch(web: Path) -> Iterator[Path]:
    """A folder inside the client's: examples import it by its name."""
    with tempfile.TemporaryDirectory(dir=web, prefix=".example-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("language", INTERPRETERS)
def test_the_examples_do_what_the_pages_show(language: str, scratch: Path, tmp_path: Path):
    found = [example for page in PAGES for example in examples(page) if example.language == language]
    assert language == "javascript" or {example.page for example in found} == set(PAGES), "a page has no example"
    with served(tmp_path) as running:
        address = running.gateway.removeprefix("http://")
        for command, example in zip(commands(found, address, scratch), found, strict=True):
            output = output_of(command, example, running)
            assert matches(example.shown, output), f"{example.page}, {language}:\n{output[:3000]}"


def test_every_example_of_the_pages_is_run():
    for page in PAGES:
        text = (DOCS / f"{page}.md").read_text("utf-8")
        assert len(re.findall(rf"^```(?:{LANGUAGES})$", text, re.MULTILINE)) == len(examples(page))
