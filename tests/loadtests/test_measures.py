"""Histograms, and the judgement that is made from them."""

import json
import random

import pytest

from loadtests.charts import Series, line_chart
from loadtests.measures import Measures, bucket_of, percentile, top_of
from loadtests.plan import Plan
from loadtests.recorder import RECOMPUTED
from loadtests.report import html_of
from loadtests.result import Result, summary_of
from loadtests.run import report_on
from loadtests.shapes import SHAPES
from loadtests.table import SECTIONS, known, page, rows_of, table
from loadtests.verdict import judgements, knee, knee_is_passed, seconds_of_step
from loadtests.watch import Queue, Sample

CALLS = ("StreamResourceRecords", "PrefillDeclaration", "SubmitDeclaration")


def measured(latencies_ms, seconds=range(60), calls=CALLS):
    measures = Measures()
    for second in seconds:
        for call in calls:
            for latency in latencies_ms:
                measures.record(call, second, latency, items=1)
    return measures


def plan(name="ordinary-day", seconds=60.0, **changes):
    return Plan(SHAPES[name], scale=1.0, speed_up=1.0, duration_seconds=seconds, foyers=2_000, persons=4_000, seed=1)


def missed(measures, of):
    return [judgement.label.split()[0] for judgement in judgements(measures, of) if not judgement.met]


def test_a_percentile_is_within_two_per_cent_above_the_true_one():
    chance = random.Random(2)
    values = sorted(chance.lognormvariate(2, 1) for _ in range(5_000))
    measures = Measures()
    for value in values:
        measures.record("call", 0, value)
    for share in (50, 90, 99, 100):
        true = values[int(len(values) * share / 100) - 1]
        assert true <= percentile(measures.total("call").latencies, share) <= true * 1.021


@pytest.mark.parametrize("latency_ms", [0, 0.009, 0.5, 3, 70_000])
def test_a_bucket_holds_its_latency(latency_ms):
    assert latency_ms <= top_of(bucket_of(latency_ms)) * (1 + 1e-12)


def test_what_workers_send_adds_up_to_what_one_process_would_have_measured():
    chance = random.Random(5)
    whole, workers = Measures(), [Measures(), Measures(), Measures()]
    for _ in range(2_000):
        call, second, latency = chance.choice(CALLS), chance.randrange(20), chance.expovariate(0.1)
        failure = "OVERLOADED" if chance.random() < 0.1 else None
        for each in (whole, chance.choice(workers)):
            each.record(call, second, latency, failure=failure, items=3)
            each.counts["records", second] += 500
    merged = Measures()
    for worker in workers:
        merged.add(Measures.from_plain(json.loads(json.dumps(worker.take().to_plain()))))
        assert worker.cells == {}
    assert merged == whole


def test_everything_is_met_when_answers_are_quick():
    assert missed(measured([1, 2, 30]), plan()) == []


def test_one_slow_call_in_fifty_is_caught():
    assert missed(measured([10] * 49 + [300]), plan()) == ["Ingestion", "Prefill", "Submission"]
    assert missed(measured([10] * 49 + [120]), plan()) == ["Prefill", "Submission"]
    assert missed(measured([10] * 49 + [60]), plan()) == ["Prefill"]


def test_the_warm_up_is_not_judged():
    measures = measured([1])
    measures.add(measured([9_000], seconds=range(5)))
    assert missed(measures, plan()) == []


def test_one_error_is_enough_and_no_call_at_all_is_not_a_success():
    measures = measured([1])
    measures.record("GetFoyer", 30, 1, failure="FOYER_UNKNOWN")
    assert missed(measures, plan()) == ["Errors"]
    assert missed(Measures(), plan()) == ["Calls"]


def test_a_night_that_recomputes_too_slowly_is_caught():
    measures = measured([1])
    measures.counts[RECOMPUTED, 10] = 60 * 220 - 1
    assert missed(measures, plan("revalorisation-night")) == ["Foyers"]
    measures.counts[RECOMPUTED, 11] = 1
    assert missed(measures, plan("revalorisation-night")) == []


def test_the_knee_is_the_last_step_before_the_first_that_misses_a_level():
    ramp = plan("breaking-point", seconds=160.0)
    measures = Measures()
    for step in range(16):
        measures.add(measured([60 if step >= 4 else 20], seconds=seconds_of_step(ramp, step)))
    assert knee(measures, ramp) == 3
    assert missed(measures, ramp) == []
    assert not knee_is_passed(measures, ramp, second=50)
    assert knee_is_passed(measures, ramp, second=62)
    assert missed(measured([60]), ramp) == ["Levels"]


def result(measures, of):
    samples = {"server": [Sample(1_000.0 + s, 0.5, 200.0) for s in range(60)]}
    queues = [Queue(1_000.0 + s, 12, 3) for s in range(60)]
    ceiling = {"calls_per_s": 2_000.0, "batches_per_s": 300.0}
    return Result(
        of, measures, judgements(measures, of), 1_000.0, samples, queues, ceiling, {"Date": "today"}, "loadtests run"
    )


@pytest.mark.parametrize("name", SHAPES)
def test_the_page_of_every_shape_stands_alone_and_shows_the_verdict(name):
    measures = measured([1, 80])
    measures.record("GetFoyer", 30, 1, failure='<script>"quoted"</script>')
    page = html_of(result(measures, plan(name)))
    assert "http-equiv" not in page
    assert "src=" not in page
    assert "<script" not in page
    assert "missed" in page
    assert "modelling choice" in page
    assert json.loads(json.dumps(summary_of(result(measures, plan(name)))))["met"] is False


def test_a_page_about_nothing_can_still_be_read():
    assert "A service level is missed" in html_of(result(Measures(), plan()))


def test_what_a_master_wrote_can_be_reported_on_later(tmp_path):
    asked, file = plan("window-opening"), tmp_path / "measures.json"
    for latency, status in ((1, 0), (400, 1)):
        content = {"plan": asked.to_plain(), "start": 1_000.0, "generators": 3, **measured([latency]).to_plain()}
        file.write_text(json.dumps(content), encoding="utf-8")
        assert report_on(file, tmp_path / "reports", "loadtests report") == status
    assert list((tmp_path / "reports").glob("*-window-opening.html"))


def test_a_chart_keeps_its_lines_inside_its_frame():
    chart = line_chart("Latency", "ms", [Series("p99", [(0, 0.5), (59, 3_000)])], end=60, logarithmic=True)
    points = chart.split('<polyline points="')[1].split('"')[0].split()
    assert all(0 <= float(x) <= 640 and 0 <= float(y) <= 220 for x, y in (point.split(",") for point in points))


def keep(folder, row, measures):
    (folder / "rows" / row.name).mkdir(parents=True)
    figures = json.dumps(summary_of(result(measures, plan(row.shape))))
    (folder / "rows" / row.name / "run.json").write_text(figures, encoding="utf-8")


def test_the_results_table_has_every_shape_and_says_what_was_not_run(tmp_path):
    rows = list(rows_of(list(SECTIONS), [1, 2], 30.0, 1_000_000))
    assert len({row.name for row in rows}) == len(rows)
    assert {row.shape for row in rows} == set(SHAPES)
    for row in rows[:2]:
        keep(tmp_path, row, measured([1, 80]))
    ramp = next(row for row in rows if row.section == "limit")
    keep(tmp_path, ramp, measured([20]))
    written = page(rows, [known(tmp_path, row) for row in rows])
    assert written.count("not run") == len(rows) - 3
    assert "| `dsn-5` | 1 | 0.1 M | 1 |" in written
    assert "1 / 1 / 1 | 80 / 80 / 80 | 0 | missed |" in written
    assert "| 1.25 |" in written  # a step of the ramp
    widths = {line.count("|") for line in written.splitlines() if line.startswith(("| `", "| shape"))}
    assert len(widths) == 1


def test_rows_that_are_known_are_not_run_again_and_time_is_kept(tmp_path, capsys):
    rows = [row for row in rows_of(["postgresql"], [1, 2], 30.0, 1) if row.shape != "dsn-5"]
    for row in rows:
        keep(tmp_path, row, measured([1]))
    assert table(tmp_path, rows, stop_after_seconds=0) == 0
    assert "row" not in capsys.readouterr().out.split("table:")[0]
    more = list(rows_of(["postgresql"], [1, 2], 30.0, 1))
    assert table(tmp_path, more, stop_after_seconds=0) == 3
    assert "no time left" in capsys.readouterr().out
    assert "not run" in (tmp_path / "table.md").read_text(encoding="utf-8")
