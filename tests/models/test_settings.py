"""A model's settings: which are hyper-parameters, what `losses` reads of them, and what the data tell."""

from dataclasses import dataclass

import pytest
import torch

from disentangle_bench.models.dip_vae import DIPVAE2
from disentangle_bench.models.info_vae import InfoVAE
from disentangle_bench.models.objective import DataFacts, Hyper, with_data_facts, with_hypers
from disentangle_bench.models.settings import model_options
from disentangle_bench.models.vae import VAE, BetaVAE


@dataclass(frozen=True)
class Widened(BetaVAE):
    """A beta-VAE with a hyper-parameter and an option more, and another beta."""

    free = Hyper(0.5)
    beta = Hyper(9.0)
    sides: int = 2


@dataclass(frozen=True)
class Settled(Widened):
    """Its beta is an option, so that it is the same for a whole stack."""

    beta: float = 3.0


def test_hyper_parameters_are_inherited_in_order_with_the_last_defaults() -> None:
    assert VAE.hypers == {}
    assert list(Widened.hypers.items()) == [("beta", 9.0), ("free", 0.5)]
    assert list(DIPVAE2.hypers.items()) == [("lambda_od", 10.0), ("diagonal", 1.0)]
    assert BetaVAE.hypers == {"beta": 4.0}  # not moved by a class below
    assert model_options(Widened) == {"likelihood": "bernoulli", "warmup_steps": None, "sides": 2}
    assert Settled.hypers == {"free": 0.5}
    assert model_options(Settled)["beta"] == Settled().beta == 3.0


def test_a_name_that_python_keeps_for_itself_has_an_underscore_in_the_class_alone() -> None:
    assert list(InfoVAE.hypers) == ["alpha", "lambda"]
    assert float(with_hypers(InfoVAE(), {"lambda": torch.tensor(7.0)}).lambda_) == 7


def test_a_hyper_parameter_has_its_runs_value_in_losses_and_none_elsewhere() -> None:
    model = Widened(sides=5)
    bound = with_hypers(with_data_facts(model, 48, (1, 2, 3)), {"beta": torch.tensor(2.0)})
    assert float(bound.beta) == 2
    assert bound.sides == 5
    assert bound.data == DataFacts(48, (1, 2, 3))
    with pytest.raises(AttributeError, match="'beta' may differ between runs of a stack"):
        model.beta  # noqa: B018
    with pytest.raises(AttributeError, match="data"):
        model.data  # noqa: B018


def test_a_hyper_parameter_with_a_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"write gamma = Hyper\(\.\.\.\) without a type"):

        class Typed(VAE):
            gamma: float = Hyper(1.0)
