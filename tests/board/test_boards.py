"""Boards: the frozen question, rescoring, tables and the page."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from boards import ABOUT, GOOD, codes_of, in_this_process, make_board, problems, score
from tiny_data import squares

from disentangle_bench.board.definition import Board, board_names, digest, read_board
from disentangle_bench.board.entries import About, write_entry
from disentangle_bench.board.page import pages, standings
from disentangle_bench.board.tables import Cell, Measure, Row, build
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics import mig
from disentangle_bench.report.statistics import spreads

BAD = "Roe2026Bad"


@pytest.fixture
def board(results: Path) -> Board:
    write_entry(
        results, read_board(results, "tiny"), BAD, ABOUT, {seed: codes_of(seed) for seed in (5, 6, 7)}
    )
    score(results, read_board(results, "tiny"))
    return read_board(results, "tiny")


def snapshot(results: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}


def test_points_are_those_of_the_board(board: Board) -> None:
    index = board.points(squares())
    assert len(index) == 40
    assert len(set(index.tolist())) == 40
    assert digest(index) == board.drawn.sha256
    with pytest.raises(BenchError, match="its fingerprint is 'squares-1', and this data set's is 'other'"):
        board.points(replace(squares(), fingerprint="other"))
    edited = board.model_copy(update={"drawn": board.drawn.model_copy(update={"seed": 8})})
    with pytest.raises(BenchError, match="was its file edited"):
        edited.points(squares())


def test_a_board_is_never_overwritten(results: Path) -> None:
    with pytest.raises(BenchError, match="is there already; a board's question never changes"):
        make_board(results)
    with pytest.raises(BenchError, match="--points 49: squares has 48 images"):
        make_board(results, "more", points=49)
    assert board_names(results) == ["tiny"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("number = 40", "number = 1", "points.number = 1: "),
        ("number = 40", 'number = "40"', "points.number = '40': "),
        ("seed = 7", "sed = 7", "unknown key 'points.sed': 'sed'. Did you mean 'seed'"),
        ('protocol = "default"', 'protocol = "own"', "protocol = 'own': one of default, dlib2019"),
        ('"mig"', '"modularity"', "each metric is named once"),
        ('"mig"', '"os:system"', "is code that is not this package's"),
        ('"mig"', '"./os:system"', "is code that is not this package's"),
        ('"mig"', '"migg"', "unknown metric 'migg'. Did you mean 'mig'"),
        ('"squares"', '"tiny_data:SQUARES"', "is code that is not this package's"),
        ("seeds = 2", "seeds = 0", "seeds = 0: "),
        ("seeds = 2", 'name = "x"', "name is no key of a board"),
    ],
)
def test_odd_boards(results: Path, old: str, new: str, words: str) -> None:
    path = results / "boards" / "tiny.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(BenchError) as caught:
        read_board(results, "tiny")
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["../tiny", "Tiny", "", "tiny.toml", "a/b"])
def test_odd_names_of_boards(results: Path, name: str) -> None:
    with pytest.raises(BenchError, match="is no name of a board"):
        read_board(results, name)


def test_only_what_is_stale_is_scored(results: Path, board: Board) -> None:
    assert score(results, board) == {GOOD: 0, BAD: 0}
    write_entry(results, board, GOOD, {}, {3: codes_of(3)})
    assert score(results, board) == {GOOD: 1, BAD: 0}
    assert problems(results, board) == ""
    before = snapshot(results)
    assert score(results, board, everything=True) == {GOOD: 3, BAD: 3}
    assert snapshot(results) == before


def test_an_entry_is_kept_when_scoring_ends_early(
    results: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(results)
    for name in (BAD, GOOD):
        (results / "entries" / "tiny" / name / "scores.csv").unlink()

    def interrupted(tables, factors, seeds, metrics):
        yield from in_this_process(tables[:2], factors, seeds[:2], metrics)
        raise KeyboardInterrupt

    monkeypatch.setattr("disentangle_bench.evaluation.pool.score_many", interrupted)
    with pytest.raises(KeyboardInterrupt):
        score(results, board)
    good = results / "entries" / "tiny" / GOOD / "scores.csv"
    assert good.read_bytes() == before[good]
    assert not (results / "entries" / "tiny" / BAD / "scores.csv").exists()
    monkeypatch.setattr("disentangle_bench.evaluation.pool.score_many", in_this_process)
    assert score(results, board) == {GOOD: 0, BAD: 3}
    assert snapshot(results) == before


def test_a_metric_whose_revision_rises_is_scored_again_and_nothing_else(
    results: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(results, "tiny")
    before, table = snapshot(results), pd.read_csv(results / "boards" / "tiny.csv")

    def reversed_mig(codes, factors, *, rng):
        return {"mig": 1 - mig.METRIC_BEFORE.score(codes, factors, rng=rng)["mig"]}

    monkeypatch.setattr(mig, "METRIC_BEFORE", mig.METRIC, raising=False)
    monkeypatch.setattr(mig, "METRIC", replace(mig.METRIC, score=reversed_mig, revision=9))
    assert "mig has figures of revision 1, and this version is at 9: `bench board score tiny" in problems(
        results, board
    )
    with pytest.raises(BenchError, match="those of another revision or question"):
        build(results, "tiny")
    assert snapshot(results) == before

    assert score(results, board) == {GOOD: 2, BAD: 3}
    after = snapshot(results)
    changed = {path for path in after if after[path] != before.get(path)}
    assert changed == {results / "entries" / "tiny" / name / "scores.csv" for name in (GOOD, BAD)}
    for path in changed:
        old, new = before[path].decode().splitlines(), after[path].decode().splitlines()
        assert [line for line in old if ",mig," not in line] == [line for line in new if ",mig," not in line]
        for one, other in zip(old, new, strict=True):
            if ",mig," in one:
                assert float(other.rpartition(",")[2]) == pytest.approx(
                    1 - float(one.rpartition(",")[2]), abs=1e-8
                )
    assert problems(results, board) == ""
    build(results, "tiny")
    ranks = pd.read_csv(results / "boards" / "tiny.csv")
    assert list(ranks["entry"]) == list(table["entry"])[::-1]
    assert ranks["mig_mean"].tolist() == pytest.approx(
        [1 - value for value in table["mig_mean"][::-1]], abs=1e-5
    )


def test_tables_say_what_the_scores_say(results: Path, board: Board) -> None:
    write_entry(
        results,
        board,
        "Control2026Known",
        ABOUT | {"control": True},
        {seed: codes_of(seed) for seed in (20, 21)},
    )
    score(results, board)
    build(results, "tiny")
    table = pd.read_csv(results / "boards" / "tiny.csv").set_index("entry")
    found = json.loads((results / "boards" / "tiny.json").read_text())
    assert table.index[-1] == "Control2026Known"
    assert np.isnan(table["rank"].iloc[-1])
    assert table["rank"].tolist()[:2] == [1, 2]
    assert table["mig_mean"].iloc[0] > table["mig_mean"].iloc[1]
    lines = pd.read_csv(results / "entries" / "tiny" / BAD / "scores.csv")
    values = lines[lines["score"] == "mig"].set_index("seed")["value"]
    mean = spreads(values.to_numpy()[:, None])["mean"]
    assert table.loc[BAD, "mig_mean"] == pytest.approx(mean.value[0], rel=1e-5)
    assert table.loc[BAD, "mig_ci_low"] == pytest.approx(mean.low[0], rel=1e-4)
    assert np.isnan(table.loc[GOOD, "mig_ci_low"])  # two seeds have no interval
    (exported,) = (entry for entry in found["entries"] if entry["entry"] == BAD)
    assert exported["scores"]["mig"]["mean"] == pytest.approx(mean.value[0], abs=1e-8)
    assert exported["scores"]["mig"]["seeds"] == {str(seed): value for seed, value in values.items()}
    assert exported["scores"]["mig"]["n"] == 3
    assert found["board"]["fingerprint"] == "squares-1"
    assert [(each["name"], each["revision"]) for each in found["measures"]] == [("mig", 1), ("modularity", 2)]
    before = snapshot(results)
    build(results, "tiny")
    assert snapshot(results) == before


def test_the_best_are_marked_where_entries_are_told_apart(results: Path, board: Board) -> None:
    truth = squares().factors(board.points(squares())).numpy().astype(np.float32)
    for name, noise in (("Roe2026Truth", 0.001), ("Roe2026Noise", 100.0)):
        codes = {seed: truth + noise * codes_of(seed, latents=3) for seed in (31, 32, 33)}
        write_entry(results, board, name, ABOUT, codes)
    score(results, board)
    text = build(results, "tiny").read_text()
    table = pd.read_csv(results / "boards" / "tiny.csv").set_index("entry")
    assert table.index[0] == "Roe2026Truth"
    assert table["mig_best"].to_dict() == {
        "Roe2026Truth": True,
        "Roe2026Noise": False,
        BAD: False,
        GOOD: False,
    }
    assert 'class="number best"' in text
    for name in ("Roe2026Noise", BAD, GOOD):
        shutil.rmtree(results / "entries" / "tiny" / name)
    assert 'class="number best"' not in build(results, "tiny").read_text()  # alone, it is the best of nothing


def test_a_board_without_entries_and_an_entry_without_scores(results: Path, board: Board) -> None:
    make_board(results, "empty")
    assert "There is no entry yet." in build(results, "empty").read_text()
    (results / "entries" / "tiny" / GOOD / "scores.csv").unlink()
    with pytest.raises(BenchError, match="lacks scores of a seed"):
        build(results, "tiny")


def test_the_page_shows_hostile_texts_and_runs_nothing(results: Path, board: Board) -> None:
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    about = ABOUT | dict.fromkeys(("name", "method", "tuning", "licence", "budget"), hostile)
    about |= {"paper": "javascript:alert(3)", "code": f'https://a.org/"{hostile}'}
    write_entry(results, board, "Roe2026Hostile", about, {seed: codes_of(seed) for seed in (8, 9)})
    score(results, board)
    index = build(results, "tiny")
    entry = index.with_name("Roe2026Hostile.html").read_text()
    assert 'href="https://a.org/&#34;&lt;script' in entry
    assert 'href="Roe2026Hostile.html"' in index.read_text()
    for text in (index.read_text(), entry):
        assert "<script" not in text
        assert "<img" not in text
        assert "&lt;script&gt;alert(1)" in text
        assert 'href="javascript' not in text
        assert "default-src &#39;none&#39;; style-src &#39;sha256-" in text
        assert "http-equiv" in text
        assert 'name="viewport" content="width=device-width' in text


def test_each_entry_has_a_page_and_none_is_left_of_one_that_is_gone(results: Path, board: Board) -> None:
    write_entry(results, board, "Roe2026Other", ABOUT, {seed: codes_of(seed) for seed in (8, 9)})
    score(results, board)
    folder, rest = build(results, "tiny").parent, {"index.html", f"{GOOD}.html", f"{BAD}.html"}
    assert {path.name for path in folder.iterdir()} == {*rest, "Roe2026Other.html"}
    shutil.rmtree(results / "entries" / "tiny" / "Roe2026Other")
    build(results, "tiny")
    assert {path.name for path in folder.iterdir()} == rest


def test_a_page_says_first_who_is_best_and_how_sure_that_is(board: Board) -> None:
    """Three entries of three seeds, a control beside them; the first is far above the second and the third."""
    about = {
        name: About(**ABOUT | {"name": name, "control": name == "factors"})
        for name in ("a", "b", "c", "factors")
    }
    scores = {"a": [0.90, 0.91, 0.92], "b": [0.20, 0.21, 0.22], "c": [0.21, 0.20, 0.19], "factors": [1, 1, 1]}
    measure = Measure("mig", "mig", 1, False, "a paper")
    rows = []
    for i, (name, values) in enumerate(scores.items()):
        cell = Cell(float(np.mean(values)), math.nan, math.nan, 3, name == "a")
        rank = None if name == "factors" else i + 1
        rows.append(
            Row(f"{name.upper()}2026Word", about[name], rank, {s: [v] for s, v in enumerate(values)}, [cell])
        )
    found = [own[0] for own in standings(rows, [measure])]
    assert [(each.place, each.beaten) for each in found] == [(1, 2), (2, 0), (3, 0), (None, 0)]
    made = pages(board, rows, [measure])
    images = "it was not trained; it is scored on 40 user images (squares)."
    best = "Best by MIG is a: 0.910 over 3 seeds, after correction"
    best += f" significantly better than 2 of 2 other entries; {images}"
    assert best in made["index.html"]
    last = "Rank 3 of 3 by MIG: 0.200 over 3 seeds, after correction"
    last += f" significantly better than 0 of 2 other entries; {images}"
    assert last in made["C2026Word.html"]
    assert "This control has no rank and has MIG 1.000 over 3 seeds" in made["FACTORS2026Word.html"]


def test_lists_and_tables_open_without_torch(results: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from disentangle_bench import registry; registry.DATASETS['squares'] = 'tiny_data:SQUARES'\n"
        "from disentangle_bench.cli import main\n"
        f"main(['board', 'list', '--results', {str(results)!r}], standalone_mode=False)\n"
        f"main(['board', 'build', '--results', {str(results)!r}], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "tiny" in done.stdout
    assert "1 entries" in done.stdout
