"""Node and Chromium for the tests of the front-ends: `.ci/run` has them, a laptop may not."""

import os
import shutil
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "client" / "web"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: install the package chromium, or name another one in CHROMIUM")
    return CHROMIUM


@pytest.fixture(scope="session")
def web() -> Path:
    """The folder of the TypeScript client, with its packages installed."""
    if shutil.which("node") is None or not (WEB / "node_modules").is_dir():
        pytest.skip("no packages of client/web: install Node.js 20 or newer, then run npm ci --ignore-scripts there")
    return WEB
