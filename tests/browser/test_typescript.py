"""The TypeScript client: typed, and tested in Node and Chromium against the real service."""

import json
import os
import subprocess
from pathlib import Path

from tests.browser.served import served

PORT = 63315


def npx(web: Path, *command: str, **environment: str) -> None:
    done = subprocess.run(
        ["npx", "--no-install", *command],
        cwd=web,
        env={**os.environ, "CI": "true", "NO_COLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout


def test_the_style_is_one(web: Path):
    npx(web, "prettier", "--check", ".")


def test_the_types_are_right(web: Path):
    npx(web, "tsc")


def test_the_client_works_in_node_and_in_a_browser(web: Path, chromium: str, tmp_path: Path):
    with served(tmp_path, origins=(f"http://127.0.0.1:{PORT}",)) as running:
        tokens = {number: running.service.token(number) for number in ("0000001", "0000002", "0000003")}
        npx(
            web,
            "vitest",
            "run",
            SOLIDARITE_GATEWAY=running.gateway,
            SOLIDARITE_TOKENS=json.dumps(tokens),
            SOLIDARITE_TEST_PORT=str(PORT),
            CHROMIUM=chromium,
        )
