"""`python -m loadtests run`, from start to end, against real servers on the loopback."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from loadtests.served import free_port

ROOT = Path(__file__).parents[2]
TINY = ["--scale", "0.001", "--speed-up", "300", "--duration", "4s", "--foyers", "500", "--ceiling-seconds", "0.5"]
"""A share of the country so small that it is sped up to have calls at all."""


def command(*arguments):
    return [sys.executable, "-m", "loadtests", *map(str, arguments)]


def run(*arguments):
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=200)


def summary_in(folder):
    (file,) = folder.glob("*.json")
    return json.loads(file.read_text(encoding="utf-8"))


@contextmanager
def delayed(address: str, seconds: float) -> Iterator[str]:
    """A relay on the loopback that holds back every answer of `address`: what a slow server looks like."""
    host, port = address.split(":")
    loop = asyncio.new_event_loop()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, hold: float) -> None:
        while data := await source.read(65_536):
            await asyncio.sleep(hold)
            sink.write(data)
            await sink.drain()
        sink.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(reader, to_server, 0), pump(from_server, writer, seconds), return_exceptions=True)

    listening = loop.run_until_complete(asyncio.start_server(relay, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        listening.close()
        loop.close()


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A real server over an empty store."""
    from loadtests.served import serving

    with serving(folder, None, "sqlite", 1, foyers=500, persons=1_000, progress=lambda *_: None) as served:
        yield served.address


def test_a_run_starts_everything_by_itself_and_reports(tmp_path):
    done = run("run", "national-day", *TINY, "--processes", "2", "--seed", "7", "--reports", tmp_path)
    summary = summary_in(tmp_path)
    # How fast this machine answers meanwhile is not this test's business; that everything was done is.
    assert done.returncode in (0, 1), done.stderr
    assert summary["errors"] == {}, done.stdout
    flows = {row["flow"]: row for row in summary["flows"]}
    assert set(flows) == {"records", "declarations", "consultations", "agents", "computations"}
    assert flows["declarations"]["arrived"] > 10
    calls = {row["call"]: row for row in summary["calls"]}
    assert calls["SubmitDeclaration"]["calls"] > 5
    assert calls["StreamResourceRecords"]["calls"] > 0
    assert summary["generator_ceiling"]["calls_per_s"] > 0
    assert summary["generator_ceiling"]["batches_per_s"] > 0
    assert summary["memory_mib"]["server"] > 20
    assert summary["queue"]["calls"] >= 1  # streams at least
    assert "loadtests run national-day" in summary["command"]
    (page,) = tmp_path.glob("*.html")
    assert str(page) in done.stdout
    assert "What the country needs" in page.read_text(encoding="utf-8")


def test_a_slow_server_is_caught_by_the_service_levels(tmp_path, monkeypatch):
    monkeypatch.delenv("LOADTESTS_RUN", raising=False)
    (tmp_path / "served").mkdir()
    with server(tmp_path / "served") as address, delayed(address, 0.3) as slow:
        done = run("run", "window-opening", *TINY, "--target", slow, "--reports", tmp_path / "reports")
    assert done.returncode == 1
    assert "MISSED  Prefill of a declaration" in done.stdout
    assert "Prefill of a declaration; Submission of a declaration" in done.stderr
    calls = {row["call"]: row for row in summary_in(tmp_path / "reports")["calls"]}
    assert calls["PrefillDeclaration"]["p50"] >= 300


def test_the_page_of_locust_runs_again_and_refuses_what_cannot_be_run(tmp_path):
    port, file = free_port(), str(ROOT / "loadtests" / "locustfile.py")
    listen = ["--web-host", "127.0.0.1", "--web-port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", file, *listen], cwd=ROOT, stderr=subprocess.PIPE
    ) as web:
        try:
            # Nobody answers there: calls fail at once, which is all that is needed to see runs begin and end.
            page = f"http://127.0.0.1:{port}"
            wait_until(lambda: answers(port))
            form = {"host": "127.0.0.1:1", "shape": "ordinary-day", "scale": "0.5", "seconds": "2"}
            for wrong in ({"scale": "much"}, {"seconds": "0"}, {"host": "nowhere"}):
                assert not asked(page, form | wrong)["success"]
            for _ in range(2):
                assert asked(page, form)["success"]
                wait_until(lambda: told(page)["state"] == "running")
                wait_until(lambda: told(page)["state"] == "stopped")
                assert told(page)["fail_ratio"] == 1
        finally:
            web.terminate()


def answers(port):
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def asked(page, form):
    with urllib.request.urlopen(f"{page}/swarm", urllib.parse.urlencode(form).encode(), timeout=10) as answer:
        return json.load(answer)


def told(page):
    with urllib.request.urlopen(f"{page}/stats/requests", timeout=10) as answer:
        return json.load(answer)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)  # a real process is being waited for


def descendants(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_a_run_that_is_stopped_leaves_no_process_and_no_folder(tmp_path):
    arguments = command("run", "ordinary-day", *TINY, "--duration", "10m", "--processes", "2", "--reports", tmp_path)
    environment = {"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    # A shell's background job, as a suite may be, ignores SIGINT and hands that on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        runs = [
            subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment) for _ in signals
        ]
    finally:
        signal.signal(signal.SIGINT, before)
    started = []
    for process, number in zip(runs, signals, strict=True):
        with process:
            next(line for line in process.stdout if line.startswith("run "))
            children = descendants(process)
            names = " ".join(" ".join(child.cmdline()) for child in children)
            assert "locustfile.py" in names
            assert "serve" in names
            started += children
            process.send_signal(number)
            process.wait(60)
    _, remaining = psutil.wait_procs(started, timeout=60)
    assert remaining == []
    assert list(tmp_path.glob("loadtests-*")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "carnival"], "unknown shape 'carnival'; one of: dsn-5"),
        (["run", "dsn-5", "--scale", "-1"], "a number above 0"),
        (["run", "dsn-5", "--scale", "much"], "a number above 0"),
        (["run", "dsn-5", "--duration", "soon"], "written 45s, 5m or 1h"),
        (["run", "dsn-5", "--workers", "0"], "a whole number from 1 on"),
        (["run", "dsn-5", "--target", "127.0.0.1:1", "--workers", "2"], "are for one of ours"),
        (["run", "dsn-5", "--foyers", "100", "--persons", "150"], "at least 200 for 100 foyers"),
        (["report", __file__], "is not a file written by our locustfile"),
        (["report", "/nowhere"], "is not a file written by our locustfile"),
        (["run"], "SHAPE"),
        ([], "COMMAND"),
    ],
)
def test_a_bad_argument_is_told_clearly(arguments, said):
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_target_where_nothing_answers_is_told_clearly(tmp_path):
    done = run("run", "ordinary-day", *TINY, "--target", "127.0.0.1:1", "--reports", tmp_path)
    assert done.returncode == 3
    assert "no service answers at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_each_user_has_one_task_so_that_locust_draws_nothing():
    program = "from loadtests.locustfile import KINDS; print([len(kind.tasks) for kind in KINDS])"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(told)) == {1}
