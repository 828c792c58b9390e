import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng

from disentangle_bench.evaluation.scores import score_codes
from disentangle_bench.metrics.controls import CONTROLS, symmetric

FACTORS = np.repeat(full_factorial(), 20, axis=0)
SCORES = {
    name: score_codes(control(FACTORS, rng()), FACTORS, ["factor_vae", "mig", "beta_vae"])
    for name, control in CONTROLS.items()
}


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_are_codes_of_the_same_points(name):
    codes = CONTROLS[name](FACTORS, rng())
    assert codes.dtype == np.float32
    assert len(codes) == len(FACTORS)
    assert (codes == CONTROLS[name](FACTORS, rng())).all()
    assert codes.std(axis=0) == pytest.approx(np.sqrt(2) if name == "noisy" else 1, abs=0.3)


def test_the_ground_truth_is_the_ceiling_and_noise_is_chance():
    for metric, chance in (("factor_vae", 1 / 3), ("mig", 0), ("beta_vae", 1 / 3)):
        assert SCORES["ground_truth"][metric] == pytest.approx(1, abs=0.01)
        assert SCORES["random"][metric] == pytest.approx(chance, abs=0.05)


def test_each_control_shows_what_some_metric_does_not_see():
    assert SCORES["duplicated"]["factor_vae"] == 1
    assert SCORES["duplicated"]["mig"] == pytest.approx(0, abs=0.01)
    assert SCORES["rotated"]["beta_vae"] > 0.8
    assert SCORES["rotated"]["mig"] < 0.5
    assert 0 < SCORES["noisy"]["mig"] < 0.5


def test_a_factor_that_does_not_vary_gives_a_constant_latent():
    factors = np.insert(FACTORS, 1, 0, axis=1)
    for control in CONTROLS.values():
        assert np.isfinite(control(factors, rng())).all()


def test_the_truth_as_images_show_it():
    factors = full_factorial((2, 4))
    # Of the first kind the values 0 and 2 look alike, and 1 and 3.
    codes = symmetric(factors, factor=1, by=0, seen=np.array([[0.0, 0.5, 0.0, 0.5], [0.0, 0.25, 0.5, 0.75]]))
    assert (codes[:, 0] == perfect_code(factors)[:, 0]).all()
    assert codes[0, 1] == codes[2, 1] == codes[4, 1]
    assert codes[1, 1] == codes[3, 1] == codes[6, 1]
    assert len(np.unique(codes[:, 1])) == 4
    assert codes.mean(axis=0) == pytest.approx(0, abs=1e-6)
