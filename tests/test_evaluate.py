"""Anyone's representation: functions, networks, saved programs and codes, evaluated and put into studies."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_data
import torch
from click.testing import CliRunner, Result
from torch import nn

from disentangle_bench import BenchError, load_run, run
from disentangle_bench.cli import main
from disentangle_bench.data.load import load_dataset
from disentangle_bench.evaluation.evaluate import evaluate
from disentangle_bench.evaluation.representation import as_encoder, load_encoder
from disentangle_bench.evaluation.scores import generator, score_codes
from disentangle_bench.evaluation.tables import reduced_tokens
from disentangle_bench.metrics.dci import dci
from disentangle_bench.records.record import load_record_file

SQUARES = "tiny_data:SQUARES"
MODULE = '''
import torch
from torch import nn


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(256, 4), nn.Dropout(0.5))

    def forward(self, images):
        return self.net(images)


class Both:
    """Codes are the image itself, and so are decoded images."""

    def encode(self, images):
        return images.flatten(1)

    def decode(self, codes):
        return codes.reshape(-1, 1, 16, 16)


torch.manual_seed(0)
network, both = Encoder(), Both()


def brightness(images):
    return images.amax((1, 2, 3))[:, None]


def broken(images):
    raise RuntimeError("no such layer")


def nan(images):
    return images.flatten(1)[:, :2] / 0


def text(images):
    return "codes"
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # A module of its own for each test: what was imported stays.
    (tmp_path / f"own_{tmp_path.name}.py").write_text(MODULE)
    return tmp_path


def own(folder: Path, name: str) -> str:
    return f"own_{folder.name}:{name}"


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def brightest(images: torch.Tensor) -> torch.Tensor:
    return images.amax((1, 2, 3))[:, None]


def test_a_function_is_given_floats_and_scored_as_its_codes_are() -> None:
    record = evaluate(brightest, SQUARES, ["mig", "factor_vae"], seed=3)
    squares = load_dataset(SQUARES)
    codes = squares.images(range(48)).amax((1, 2, 3))[:, None].float() / 255
    assert record.points["number"] == 48
    found = score_codes(codes, squares.factors(range(48)), ["mig", "factor_vae"], seed=3)
    assert record.scores.keys() == found.keys()
    # The rows come in another order, in which metrics draw other points.
    assert record.scores["mig"] == pytest.approx(found["mig"])
    assert record.controls["random"].keys() == record.scores.keys()
    assert record.controls["ground_truth"]["mig"] > 0.99
    assert record.source == {"kind": "encoder", "what": "brightest"}
    assert record.dataset["fingerprint"] == squares.fingerprint


def test_codes_of_all_points_are_scored_as_their_encoder_is() -> None:
    squares = load_dataset(SQUARES)
    codes = brightest(squares.images(range(48)).float() / 255)
    by_codes, by_encoder = (evaluate(what, SQUARES, ["factor_vae"], points=20) for what in (codes, brightest))
    assert by_codes.scores == by_encoder.scores
    assert by_codes.points == by_encoder.points
    with pytest.raises(BenchError, match="47 rows and squares 48 images"):
        evaluate(codes[:47], SQUARES, ["mig"])
    with pytest.raises(BenchError, match="unknown metric 'migg'"):
        evaluate(codes, SQUARES, ["migg"])


def test_a_network_is_put_into_eval_mode_and_a_trained_run_scores_as_in_its_study(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 3), nn.Dropout(0.5))
    first, again = (evaluate(network, SQUARES, ["mig"]) for _ in range(2))
    assert first.scores == again.scores
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    outcome = run(tmp_path / "tiny.toml", tmp_path / "study", device="cpu", seeds=1)
    table = pd.read_csv(outcome.path / "scores.csv")
    row = table.iloc[0]
    record = evaluate(
        load_run(outcome.path / "runs" / row["run"]), SQUARES, ["mig", "factor_vae"], reconstruction_points=16
    )
    assert record.scores["mig"] == pytest.approx(row["mig"], abs=1e-9)
    assert record.scores["factor_vae"] == pytest.approx(row["factor_vae"], abs=1e-9)
    assert record.scores["mse"] == pytest.approx(row["mse"], rel=1e-4)


def test_a_decoder_gives_reconstruction(folder: Path) -> None:
    record = evaluate(load_encoder(own(folder, "both")), SQUARES, ["mig"])
    assert record.scores["mse"] == 0
    floor = record.scoring["reconstruction"]["floor_nats"]
    assert record.scores["reconstruction_nats"] == pytest.approx(floor, rel=1e-5)


@pytest.mark.parametrize("suffix", [".pt2", ".ts"])
def test_saved_programs(suffix: str, folder: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 3)).eval()
    path = folder / f"encoder{suffix}"
    if suffix == ".ts":
        torch.jit.script(network).save(str(path))
    else:
        torch.ones(1, requires_grad=True).sum().backward()  # or processes forked later from this one cannot
        images = torch.zeros(2, 1, 16, 16)
        batch = torch.export.Dim("batch", min=1, max=4096)
        torch.export.save(torch.export.export(network, (images,), dynamic_shapes=({0: batch},)), path)
    saved, direct = (evaluate(what, SQUARES, ["mig"]) for what in (load_encoder(str(path)), network))
    assert saved.scores == pytest.approx(direct.scores, abs=1e-6)


def test_tokens_are_reduced_to_their_first_principal_components() -> None:
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(500, 3))
    directions = rng.normal(size=(3, 8))
    tokens = latents[:, :, None] * directions + 0.01 * rng.normal(size=(500, 3, 8))
    codes, width = reduced_tokens(tokens)
    assert (codes.shape, width) == ((500, 3), 8)
    for token in range(3):
        assert abs(np.corrcoef(codes[:, token], latents[:, token])[0, 1]) > 0.999
        # The largest weight is positive, so that the sign is decided by the codes alone.
        largest = np.abs(directions[token]).argmax()
        assert np.corrcoef(codes[:, token], tokens[:, token, largest])[0, 1] > 0
    plain, none = reduced_tokens(latents)
    assert plain is latents
    assert none is None
    record = evaluate(lambda images: images.flatten(1).reshape(-1, 4, 64), SQUARES, ["mig"])
    assert "no metric had them whole" in record.notes[0]


def test_metrics_that_take_vectors_see_tokens_whole() -> None:
    """Two tokens, each of which tells a factor by the direction of a vector that no single number of it tells."""
    squares = load_dataset(SQUARES)
    truth = squares.factors(range(48)).numpy()
    angles = 2 * np.pi * truth[:, :2] / 4 + 0.4
    tokens = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    record = evaluate(tokens, SQUARES, ["dci", "mig", "explicitness"])
    assert "dci, explicitness had them whole" in record.notes[0]
    whole = dci(tokens.reshape(48, 4).astype(np.float32), truth, rng=generator(0, "dci"), width=2)
    assert {key: record.scores[key] for key in whole} == pytest.approx(whole)
    split = dci(tokens.reshape(48, 4).astype(np.float32), truth, rng=generator(0, "dci"))
    # A factor stands in one token, and in both of its numbers.
    assert whole["dci_completeness"] > split["dci_completeness"] + 0.1
    assert record.scores["explicitness"] > record.controls["random"]["explicitness"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "RuntimeError: no such layer"),
        ("nan", "NaN or infinite values"),
        ("text", "cannot be evaluated"),
        ("Encoder", "is a class: give an instance"),
        ("nothing", "has no attribute 'nothing'"),
        ("torch", "does not make codes"),
    ],
)
def test_what_is_no_encoder_is_said_in_words(name: str, said: str, folder: Path) -> None:
    result = bench("evaluate", own(folder, name), "--dataset", SQUARES, "--metric", "mig")
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_file_that_is_no_program(folder: Path) -> None:
    (folder / "encoder.pt").write_bytes(b"no program")
    (folder / "encoder.pt2").write_bytes(b"no program")
    for name in ("encoder.pt", "encoder.pt2", "missing.pt2", "encoder.onnx"):
        result = bench("evaluate", name, "--dataset", SQUARES)
        assert result.exit_code == 2, result.output


def test_the_command_prints_controls_and_writes_a_record(folder: Path) -> None:
    result = bench(
        "evaluate", own(folder, "brightness"), "--dataset", SQUARES, "--metric", "mig", "--name", "Light",
        "--points", 40, "--out", "record.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    header = next(line for line in result.stderr.splitlines() if "ceiling" in line)
    assert header.split() == ["score", "chance", "ceiling"]
    record = load_record_file(folder / "record.json")
    assert (record.name, record.points["number"]) == ("Light", 40)
    (folder / "record.json").write_text('{"name": 1}')
    with pytest.raises(BenchError, match="cannot be read as the record"):
        load_record_file(folder / "record.json")


def test_codes_from_a_file_with_factors_of_its_own(folder: Path) -> None:
    factors = np.tile(np.arange(4), 24)[:, None]
    np.savez(folder / "codes.npz", codes=factors.astype(np.float32), factors=factors)
    result = bench("evaluate", "--codes", "codes.npz", "--metric", "mig")
    assert result.exit_code == 0, result.output
    assert "the factors in codes.npz" in result.stderr
    assert bench("evaluate").exit_code == 2
    assert bench("evaluate", "a:b", "--codes", "codes.npz").exit_code == 2


def test_an_evaluation_stands_in_a_study(folder: Path) -> None:
    (folder / "tiny.toml").write_text(tiny_data.GRID)
    run(folder / "tiny.toml", folder / "study", device="cpu", seeds=2)
    for seed in (0, 1):
        how = ("--into", "study", "--name", "Light", "--seed", seed, "--allow", "tiny_data")
        result = bench("evaluate", own(folder, "brightness"), *how)
        assert result.exit_code == 0, result.output
    table = pd.read_csv(folder / "study" / "leaderboard.csv")
    row = table[table["model"] == "Light"].iloc[0]
    assert row["n_seeds"] == 2
    assert row["source"] == "encoder"
    kept = [json.loads((folder / "study" / "entries" / f"Light-s{seed}.json").read_text()) for seed in (0, 1)]
    assert row["mig_mean"] == pytest.approx(np.mean([record["scores"]["mig"] for record in kept]))
    assert set(table.loc[table["model"] != "Light", "source"]) == {"trained here"}
    assert table["rank"].notna().all()
    refused = bench("evaluate", own(folder, "brightness"), "--into", "study", "--metric", "sap")
    assert refused.exit_code == 2
    assert bench("evaluate", own(folder, "brightness"), "--into", "nowhere").exit_code == 2
    assert bench("run", "tiny.toml", "--seeds", 2, "--out", "study").exit_code == 0
    assert "Light" in (folder / "study" / "leaderboard.csv").read_text()


def test_an_encoder_of_images_given_as_bytes() -> None:
    encoder = as_encoder(brightest)
    images = load_dataset(SQUARES).images(range(5))
    assert torch.equal(encoder.encode(images), encoder.encode(images.float() / 255))


def test_a_protocol_scores_otherwise_and_says_so(folder: Path) -> None:
    codes = ("evaluate", own(folder, "brightness"), "--dataset", SQUARES)
    result = bench(*codes, "--protocol", "chen2018", "--out", "record.json")
    assert result.exit_code == 0, result.output
    record = load_record_file(folder / "record.json")
    assert record.scoring["protocol"] == "chen2018"
    assert list(record.scores) == ["mig"]
    assert str(record.scoring["metrics"]["mig"]["revision"]).startswith("chen2018 ")
    assert bench(*codes, "--protocol", "chen").exit_code == 2
    assert "chen2018" in bench(*codes, "--protocol", "chen").output
    with pytest.raises(BenchError, match="has no time limit"):
        evaluate(brightest, SQUARES, protocol="chen2018", metric_seconds=1.0)
    with pytest.raises(BenchError, match="unknown metric of the protocol"):
        evaluate(brightest, SQUARES, ["sap"], protocol="chen2018")


def test_codes_in_bfloat16(folder: Path) -> None:
    half, whole = (
        evaluate(what, SQUARES, ["mig"]) for what in (lambda x: brightest(x).bfloat16(), brightest)
    )
    assert half.scores == pytest.approx(whole.scores, abs=0.01)
    codes = brightest(load_dataset(SQUARES).images(range(48)).float()).bfloat16()
    assert evaluate(codes, SQUARES, ["mig"]).scores == pytest.approx(whole.scores, abs=0.01)


def test_a_name_that_no_file_can_have_is_refused_first(folder: Path) -> None:
    (folder / "tiny.toml").write_text(tiny_data.GRID)
    run(folder / "tiny.toml", folder / "study", device="cpu", seeds=1)
    result = bench("evaluate", "not_there:f", "--into", "study", "--name", "a/b", "--allow", "tiny_data")
    assert result.exit_code == 2
    assert "'a/b' is no name for a file" in result.output
