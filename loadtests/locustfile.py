"""Locust's way in: `locust -f loadtests/locustfile.py --host 127.0.0.1:50051`, with its web page or `--headless`.

`python -m loadtests run` starts this same file with a server, people and a report around it. The number of users and
their pace come from the shape; Locust's own settings for them are not used.
"""

from __future__ import annotations

# First of all: tells gRPC about gevent, before any other module of gRPC is loaded.
from loadtests.grpc_user import GrpcUser, address_of  # isort: skip

import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import locust.runners
from flask import jsonify, request
from locust import LoadTestShape, events, runners

from loadtests.measures import Measures
from loadtests.plan import CONNECTIONS, Plan, foyers_for, shape_named
from loadtests.recorder import Run
from loadtests.shapes import SHAPES
from loadtests.summary import line_of
from loadtests.users import Agent, Analyst, Consultation, FrontEnd, Operator, PayrollSource
from loadtests.verdict import knee_is_passed

KINDS = (PayrollSource, FrontEnd, Consultation, Agent, Analyst, Operator)
__all__ = ["Agent", "Analyst", "Consultation", "FrontEnd", "Operator", "PayrollSource", "ShapeOfTheDay"]

locust.runners.WORKER_REPORT_INTERVAL = 1.0
_START_SECONDS = 60.0
_DRAIN_SECONDS = GrpcUser.timeout_seconds + 2


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    """Add ours to Locust's options; they are also on its web page."""
    parser.add_argument("--shape", default="ordinary-day", choices=list(SHAPES), help="kind of day")
    parser.add_argument("--scale", type=float, default=0.01, help="share of the country: 1 is France")
    parser.add_argument("--speed-up", type=float, default=1.0, help="multiplies the arrival rates")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the run")
    parser.add_argument("--foyers", type=int, default=0, help="dossiers in the store; 0: as `fill` does at this scale")
    parser.add_argument("--persons", type=int, default=0, help="persons in the store; 0: two a foyer")
    parser.add_argument("--seed", type=int, default=1, help="decides the arrivals and who arrives")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="channels of the front-end users")
    parser.add_argument("--measures", default="", include_in_web_ui=False, help="file to write what was measured to")
    parser.add_argument("--generators", type=int, default=1, include_in_web_ui=False, help="set by the master")


def plan_of(options: Namespace) -> Plan:
    """The plan that the options ask for."""
    plan = Plan(
        shape_named(options.shape),
        options.scale,
        options.speed_up,
        options.seconds,
        options.foyers,
        options.persons,
        options.seed,
        options.connections,
    )
    foyers = plan.foyers or foyers_for(plan.scale, plan.expected("declarations"))
    return replace(plan, foyers=foyers, persons=plan.persons or 2 * foyers)


def set_users(plan: Plan) -> None:
    """As many users of each kind as the plan has connections: every generator knows them, and takes its share."""
    PayrollSource.fixed_count = plan.shape.sources
    FrontEnd.fixed_count = plan.connections
    Consultation.fixed_count = max(1, plan.connections // 4)
    Agent.fixed_count = max(1, plan.connections // 8)
    Analyst.fixed_count = Operator.fixed_count = 1


@events.init.add_listener
def prepare(environment: Any, **_: Any) -> None:
    """Count the users before Locust plans them, and keep sampling."""
    options = environment.parsed_options
    if options is not None and options.headless and not options.worker:
        try:
            address_of(environment.host)
        except ValueError as error:
            sys.exit(f"Error: {error}")
    environment.stop_timeout = _DRAIN_SECONDS
    environment.session, environment.merged = None, Measures()
    if environment.parsed_options is not None:
        set_users(plan_of(environment.parsed_options))
    gevent.spawn(_watch, environment)


@events.test_start.add_listener
def start(environment: Any, **_: Any) -> None:
    """Begin a run in this process; the master tells the workers how many they are, then they begin theirs."""
    options, runner = environment.parsed_options, environment.runner
    if isinstance(runner, runners.MasterRunner):
        options.generators = runner.worker_count
    plan = plan_of(options)
    set_users(plan)
    for kind in KINDS:
        kind.places.clear()
    FrontEnd.filed.clear()
    FrontEnd.rectified.clear()
    environment.merged = Measures()
    environment.session = GrpcUser.recorder = Run(plan, getattr(runner, "worker_index", 0), options.generators)


@events.report_to_master.add_listener
def send(client_id: str, data: dict[str, Any]) -> None:
    """A worker hands over what is new."""
    run = GrpcUser.recorder
    if isinstance(run, Run):
        data["measures"] = run.measures.take().to_plain()
        data["in_flight"] = run.in_flight


@events.test_stop.add_listener
def stop(environment: Any, **_: Any) -> None:
    """Write what was measured, where somebody asked for it."""
    file = environment.parsed_options.measures
    if file and not isinstance(environment.runner, runners.WorkerRunner):
        session = environment.session
        content = {
            "plan": session.plan.to_plain(),
            "start": session.start_on_the_clock,
            "generators": environment.parsed_options.generators,
            **_measured(environment).to_plain(),
        }
        Path(file).write_text(json.dumps(content), encoding="utf-8")
    # The web page may start another run: until then there is none.
    environment.session = None


@events.init.add_listener
def check_what_the_page_asks(environment: Any, **_: Any) -> None:
    """Refuse on the page, in words, what cannot be run: Locust would begin and stop at once."""
    if environment.web_ui is None:
        return

    @environment.web_ui.app.before_request
    def refuse() -> Any:
        if request.path != "/swarm":
            return None
        try:
            if "host" in request.form:
                address_of(request.form["host"])
            for name in ("scale", "speed_up", "seconds", "connections"):
                text = request.form.get(name, "1")
                if not text.replace(".", "", 1).isdecimal() or not float(text):
                    raise ValueError(f"{name}: a number above 0 is expected")
        except ValueError as error:
            return jsonify({"success": False, "message": str(error), "host": environment.host})
        return None


def _measured(environment: Any) -> Measures:
    """All that this master, or this lone process, knows."""
    if environment.session is not None:
        environment.merged.add(environment.session.measures.take())
    merged: Measures = environment.merged
    return merged


def _watch(environment: Any) -> None:
    said = 0
    while True:
        gevent.sleep(1)
        run, runner = environment.session, environment.runner
        if run is None or run.second < 0:
            continue
        if not isinstance(runner, runners.MasterRunner):
            run.sample()
        if not isinstance(runner, runners.WorkerRunner) and run.second >= said + 2 and run.second <= _last(run.plan):
            said = run.second
            print(line_of(_measured(environment), run.plan, said), flush=True)
        if run.second < said:
            said = 0


def _last(plan: Plan) -> int:
    return int(plan.duration_seconds)


@events.init.add_listener
def listen_to_workers(environment: Any, **_: Any) -> None:
    """The master adds up what the workers send."""
    environment.waiting = {}

    def receive(client_id: str, data: dict[str, Any]) -> None:
        if "measures" in data and environment.session is not None:
            environment.merged.add(Measures.from_plain(data["measures"]))
            environment.waiting[client_id] = data["in_flight"]

    if isinstance(environment.runner, runners.MasterRunner):
        events.worker_report.add_listener(receive)


class ShapeOfTheDay(LoadTestShape):
    """All users at once, until the plan is over and its last calls are answered."""

    use_common_options = False

    def tick(self) -> tuple[int, float] | None:
        """Called every second by Locust."""
        environment: Any = self.runner.environment if self.runner else None
        run = environment.session
        if run is None and self.get_run_time() > _START_SECONDS:
            raise RuntimeError("the run did not start: see the log above")
        if run is not None and self._is_over(environment, run):
            return None
        set_users(plan_of(environment.parsed_options) if run is None else run.plan)
        return sum(kind.fixed_count for kind in KINDS), 100.0

    def _is_over(self, environment: Any, run: Run) -> bool:
        after = run.second - _last(run.plan)
        if run.plan.shape.steps and after < 0:
            return knee_is_passed(_measured(environment), run.plan, run.second)
        waiting = sum(environment.waiting.values()) if environment.waiting else run.in_flight
        return after > _DRAIN_SECONDS or (after >= 2 and not waiting)


if __name__ == "__main__":
    sys.exit("Run it with Locust: locust -f loadtests/locustfile.py --host HOST:PORT")
