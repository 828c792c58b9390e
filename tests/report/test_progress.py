"""What people see while a study runs: bars in a terminal, lines in a pipe, and how long it will take."""

import io

import pytest
import synthetic_study
from rich.console import Console

from disentangle_bench import progress
from disentangle_bench.bars import Terminal
from disentangle_bench.progress import Lines
from disentangle_bench.records.costs import Costs
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.shown import shortened, wrapped
from disentangle_bench.study.calls import Calls
from disentangle_bench.study.reported import Reported

LONG = "shapes3d_rendered-factor_vae-gamma40-s12-0123abcd"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    return clock


def test_the_rate_is_that_since_the_line_before(now: list[float]) -> None:
    out = io.StringIO()
    lines = Lines(out)
    lines.run_started(["run"])
    lines.phase(["run"], "training", 300_000)
    for seconds, steps in ((60, 100), (20, 50_000), (20, 50_000)):
        now[0] += seconds
        lines.advance(["run"], steps)
    said = out.getvalue().splitlines()[1:]
    assert said == [
        "  training 100/300000, 1.67/s, 2 days left",
        "  training 50100/300000, 2,500/s, 2 min left",
        "  training 100100/300000, 2,500/s, 80 s left",
    ]


def test_a_pipe_gets_plain_lines_that_count_what_was_there(now: list[float]) -> None:
    out = io.StringIO()
    lines = Lines(out)
    with lines.study(4, done=1):
        lines.run_started(["a"])
        now[0] += 30
        lines.time_left(60.0)
        lines.run_finished("a", None)
        lines.run_started(["b", "c"])
        lines.run_finished("b", "diverged: kl is not finite by step 7\n\nTraceback")
        lines.time_left(0.0)
        lines.run_finished("c", None)
    assert out.getvalue().splitlines() == [
        "[2/4] a",
        "  done in 30 s; 2 of 4 runs, about 60 s left",
        "[3/4] 2 runs from b",
        "  FAILED: diverged: kl is not finite by step 7; 3 of 4 runs, about 60 s left",
        "  done in 0 s; 4 of 4 runs",
    ]


def test_a_name_loses_its_middle() -> None:
    assert shortened(LONG, len(LONG)) == LONG
    assert shortened(LONG, 22) == "shapes3…0-s12-0123abcd"


def shown(terminal: Terminal, width: int) -> str:
    """The bars as they are at this moment."""
    paper = Console(file=io.StringIO(), width=width, color_system=None)
    paper.print(terminal.bars.get_renderable())
    return paper.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 140])
def test_bars_keep_their_length_however_long_a_name_is(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    terminal = Terminal(console)
    with terminal.study(60, done=12):
        terminal.run_started([LONG])
        terminal.phase([LONG], "training", 300_000)
        terminal.advance([LONG], 150_000)
        terminal.time_left(7200.0)
        study, job = filter(str.strip, shown(terminal, width).splitlines())
    bar = 30 if width == 140 else 12
    assert study.count("━") == bar // 5
    assert job.count("━") == bar // 2
    assert "12 of 60 runs" in study or width == 60
    assert " 20 %" in study
    assert "2.0 h left" in study
    assert "-s12-0123abcd" in job if width > 60 else "0123abcd" in job
    assert "training" in job
    assert " 50 %" in job
    assert ("150000/300000" in job) == (LONG in job) == (width == 140)


def test_a_failed_run_has_a_line_that_stays_and_is_counted() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    terminal = Terminal(console)
    with terminal.study(2):
        terminal.run_started([LONG])
        terminal.run_finished(LONG, "diverged: kl is not finite\n\nTraceback")
        said = " ".join(console.file.getvalue().split())
        assert f"FAILED {LONG}: diverged: kl is not finite" in said
        bars = shown(terminal, 80)
    assert "1 of 2 runs" in bars
    assert "1 failed" in bars


class Heard(progress.Silent):
    """Remembers the last time left."""

    seconds: float | None = None

    def time_left(self, seconds: float | None) -> None:
        self.seconds = seconds


def test_the_time_left_follows_finished_runs(tmp_path) -> None:
    records = list(synthetic_study.records(1, {"vae": ("", [0.0])}, 4))
    specs = [record.spec for record in records]
    study = StudyDir(tmp_path / "study")
    synthetic_study.write(study, iter([]))
    costs, heard = Costs(), Heard()
    reported = Reported(heard, study, specs, costs, Calls())
    with reported.study(len(specs)):
        assert heard.seconds is None  # no run has finished
        costs.add(records[0])
        reported.run_finished(specs[0].id, None)
        assert heard.seconds == pytest.approx(3 * 100)
        reported.run_started([specs[1].id])
        reported.run_started([specs[2].id])
        reported.phase([specs[2].id], "training", 10, 5)
        assert heard.seconds == pytest.approx((100 + 50 + 100) / 2)  # two jobs at work
        study.save(records[3])  # by another process
        costs.add(records[1])
        reported.run_finished(specs[1].id, None)
        assert heard.seconds == pytest.approx(50.25)


def test_jobs_share_what_is_left_but_no_run() -> None:
    (first, second) = list(synthetic_study.records(1, {"vae": ("", [0.0])}, 2))
    costs = Costs()
    assert costs.left([first.spec], {}, 1) is None
    costs.add(first)
    assert costs.left([first.spec, second.spec], {}, 2) == pytest.approx(100)
    assert costs.left([first.spec], {}, 8) == pytest.approx(100)
    assert costs.left([], {}, 2) == 0


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_sentences_break_between_words_in_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = "note: reconstruction is compared\n  indented"
    assert wrapped(text, Tty()) == "note: reconstruction\nis compared\n  indented"
    assert wrapped("123456 7890123 456789", Tty(), indent=7) == "123456\n7890123 456789"
    assert wrapped(text, io.StringIO()) == text
