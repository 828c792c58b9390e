"""Grids: what they expand to, and one clear message for whatever is wrong with them."""

import re
import tomllib
from pathlib import Path

import pytest

from disentangle_bench.errors import BenchError
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import check_grid, read_grid
from disentangle_bench.specs import RunSpec

GRIDS = Path(__file__).parents[1] / "grids"
SMALL = {"name": "g", "datasets": [{"name": "dsprites_rendered"}], "models": [{"name": "vae"}]}


def test_ids_keep_the_seed_of_a_long_name() -> None:
    document = SMALL | {"datasets": [{"name": "x" * 150 + ".npz"}], "seeds": [7, 12345]}
    ids = [spec.id for spec in expand(check_grid(document, with_data=False))]
    assert ["-s7-" in ids[0], "-s12345-" in ids[1]] == [True, True]
    assert max(map(len, ids)) <= 110


def test_lists_multiply_out_with_seeds_and_datasets() -> None:
    grid = check_grid(
        SMALL
        | {
            "datasets": [{"name": "dsprites_rendered"}, {"name": "shapes3d_rendered", "every": {"scale": 2}}],
            "models": [
                {"name": "vae"},
                {"name": "beta_vae", "beta": [2, 4], "likelihood": ["bernoulli", "gaussian"]},
            ],
            "seeds": [3, 8, 9],
        }
    )
    specs = expand(grid)
    assert len(specs) == 2 * (1 + 2 * 2) * 3
    assert len({spec.id for spec in specs}) == len(specs)
    assert [spec.seed for spec in specs[:3]] == [3, 8, 9]
    assert {spec.hypers["beta"] for spec in specs if spec.model == "beta_vae"} == {2.0, 4.0}
    assert specs[-1].dataset.label == "shapes3d_rendered[scale/2]"
    assert specs[-1].options == {"likelihood": "gaussian"}


def test_a_number_of_seeds_stands_for_seeds_from_zero() -> None:
    assert check_grid(SMALL | {"seeds": 3}).seeds == (0, 1, 2)


def test_paper_grids_describe_the_papers_studies() -> None:
    study = expand(read_grid(GRIDS / "locatello2019.toml"))
    assert len(study) == 1200
    assert {spec.training.steps for spec in study} == {300_000}
    assert {spec.hypers.get("beta") for spec in study} == {None, 2, 4, 6, 8, 16}
    assert {spec.hypers.get("gamma") for spec in study} == {None, 10, 20, 30, 40, 50, 100}
    assert {spec.network.kernels for spec in study} == {(4, 4, 2, 2)}
    assert len(expand(read_grid(GRIDS / "factorvae2018.toml"))) == 120


def test_the_quickstart_is_a_cut_of_the_small_track() -> None:
    quick, track = (expand(read_grid(GRIDS / f"{name}.toml")) for name in ("quickstart", "small"))
    assert {spec.model for spec in quick} == {"vae", "ada_gvae"}
    assert {spec.seed for spec in quick} == {0, 1, 2}
    as_long = expand(read_grid(GRIDS / "quickstart.toml", [f"training.steps={track[0].training.steps}"]))
    assert {spec.id for spec in as_long} <= {spec.id for spec in track}
    assert len(track) == len({spec.id for spec in track}) == 620
    assert {spec.seed for spec in track} == set(range(10))


def test_a_spec_survives_json_and_its_id_depends_on_every_setting() -> None:
    spec = expand(check_grid(SMALL))[0]
    assert RunSpec.model_validate_json(spec.model_dump_json(), strict=False) == spec
    other = expand(check_grid(SMALL | {"training": {"steps": 7}}))[0]
    assert other.id != spec.id
    assert spec.id.startswith("dsprites_rendered-vae-s0-")


def test_overrides_reach_tables_and_list_entries(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text('datasets = [{name = "dsprites_rendered"}]\nmodels = [{name = "beta_vae"}]\n')
    grid = read_grid(path, ["training.steps=5", "models.0.beta=[1, 2]", "name=other"], seeds=2)
    assert grid.name == "other"
    assert grid.training.steps == 5
    assert {spec.hypers["beta"] for spec in expand(grid)} == {1.0, 2.0}
    assert grid.seeds == (0, 1)


# What is wrong, and words that the message must have: where, what, and what would be right.
WRONG = [
    ({"models": [{"name": "beta_vea"}]}, ["beta_vea", "Did you mean 'beta_vae'", "factor_vae"]),
    ({"models": [{"name": "vae", "beta": 4}]}, ["beta", "likelihood"]),
    ({"models": [{"name": "beta_vae", "beta": []}]}, ["beta", "empty"]),
    ({"models": [{"name": "beta_vae", "beta": "four"}]}, ["beta", "four", "number"]),
    ({"models": [{"name": "beta_vae", "beta": -1}]}, ["beta", "-1", "at least 0"]),
    ({"models": [{"name": "beta_vae", "beta": True}]}, ["beta", "True"]),
    ({"models": [{"name": "beta_vae", "beta": [2, 2]}]}, ["described twice"]),
    ({"models": [{"name": "vae", "likelihood": "poisson"}]}, ["likelihood", "poisson", "bernoulli"]),
    (
        {"models": [{"name": "factor_vae", "discriminator_width": 0}]},
        ["discriminator_width", "greater than 0"],
    ),
    ({"models": []}, ["models", "at least 1"]),
    ({"models": [{}]}, ["models.0.name", "missing"]),
    ({"models": "vae"}, ["models = 'vae'", "a list is needed"]),
    ({"network": [1]}, ["network = [1]: a table is needed"]),
    ({"training": {"steps": True}}, ["training.steps = true: input should be a valid integer"]),
    ({"datasets": []}, ["datasets", "at least 1"]),
    ({"datasets": [{"name": "dsprite_rendered"}]}, ["dsprite_rendered", "Did you mean 'dsprites_rendered'"]),
    ({"datasets": [{"name": "dsprites_rendered", "evry": {}}]}, ["datasets.0.evry", "Did you mean 'every'"]),
    ({"datasets": [{"name": "dsprites_rendered", "every": {"posX": 0}}]}, ["every.posX", "greater than 0"]),
    ({"datasets": [{"name": "dsprites_rendered", "every": {"posx": 2}}]}, ["posx", "Did you mean 'posX'"]),
    ({"metrics": []}, ["metrics", "at least 1"]),
    ({"metrics": ["mgi"]}, ["mgi", "Did you mean 'mig'"]),
    ({"metrics": ["mig", "mig"]}, ["metrics", "twice"]),
    ({"seeds": []}, ["seeds", "at least 1"]),
    ({"seeds": 0}, ["seeds", "between 1"]),
    ({"seeds": [1, 1]}, ["seeds", "twice"]),
    ({"seeds": [-1]}, ["seeds", "between 0"]),
    ({"seeds": "all"}, ["seeds = 'all'", "a number of seeds or a list of them is needed"]),
    ({"network": {"channels": 32}}, ["network.channels = 32", "a list is needed"]),
    ({"training": {"steps": 0}}, ["training.steps = 0", "greater than 0"]),
    ({"training": {"steps": -5}}, ["training.steps = -5", "greater than 0"]),
    ({"training": {"steps": 1.5}}, ["training.steps = 1.5", "integer"]),
    ({"training": {"steps": "many"}}, ["training.steps", "many", "integer"]),
    ({"training": {"stepps": 5}}, ["training.stepps", "Did you mean 'steps'"]),
    ({"training": {"learning_rate": float("nan")}}, ["training.learning_rate"]),
    ({"training": 5}, ["training"]),
    ({"network": {"latents": 0}}, ["network.latents", "greater than 0"]),
    ({"network": {"channels": []}}, ["network.channels", "at least 1"]),
    ({"network": {"channels": [32, 32]}}, ["network.kernels", "4 entries", "2"]),
    ({"network": {"kernels": [4, 4, 3, 2]}}, ["network.kernels", "even"]),
    ({"scoring": {"points": "some"}}, ["scoring.points", "some", '"all"']),
    ({"scoring": {"points": 0}}, ["scoring.points", "at least 1"]),
    ({"name": "../elsewhere"}, ["name", "../elsewhere"]),
    ({"stuff": 1}, ["stuff", "Known"]),
]


@pytest.mark.parametrize(("change", "words"), WRONG, ids=lambda value: str(value)[:60])
def test_every_mistake_has_one_clear_message(change: dict, words: list[str]) -> None:
    with pytest.raises(BenchError) as caught:
        check_grid(SMALL | change, source="my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml: ")
    for word in words:
        assert word in message
    assert "pydantic" not in message


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        (["training.steps"], "key=value"),
        (["=4"], "key=value"),
        (["training.steps.more=4"], "not a table"),
        (["models.7.name=vae"], "entries 0..0"),
        (["training.steps=-3"], "training.steps"),
    ],
)
def test_bad_overrides(tmp_path: Path, overrides: list[str], word: str) -> None:
    path = tmp_path / "g.toml"
    path.write_text('datasets=[{name="dsprites_rendered"}]\nmodels=[{name="vae"}]\ntraining={steps=1}')
    with pytest.raises(BenchError, match=re.escape(word)):
        read_grid(path, overrides)


@pytest.mark.parametrize("text", ["seeds = [1,", "= 3", "a = 1\na = 2", "\x00", "[" * 2000])
def test_broken_toml_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(BenchError, match=r"broken\.toml"):
        read_grid(path)


def test_the_resolved_grid_is_a_grid_again(tmp_path: Path) -> None:
    from disentangle_bench.records.study_dir import StudyDir

    grid = read_grid(GRIDS / "quickstart.toml")
    StudyDir(tmp_path / "s").write_grid(grid)
    again = check_grid(tomllib.loads((tmp_path / "s" / "grid.toml").read_text()))
    assert expand(again) == expand(grid)


def test_a_name_that_was_asked_for_is_kept_and_a_copy_has_its_own() -> None:
    spec, fresh = expand(check_grid(SMALL))[0], expand(check_grid(SMALL))[0]
    asked = (spec.id, spec.digest, spec.program)
    assert spec == fresh
    assert spec.model_dump() == fresh.model_dump()
    assert spec.model_dump_json() == fresh.model_dump_json()
    assert (fresh.id, fresh.digest, fresh.program) == asked
    for deep in (False, True):
        network = spec.network.model_copy(update={"latents": 77})
        copied = spec.model_copy(update={"seed": 77, "network": network}, deep=deep)
        assert (copied.id, copied.digest, copied.program) != asked
        assert copied.id.endswith(copied.digest[:8])
        assert "-s77-" in copied.id
        assert copied.program != spec.program
    assert (spec.id, spec.digest, spec.program) == asked
