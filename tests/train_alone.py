"""One run trained to its end by the reference trainer."""

from disentangle_bench.train.alone import Alone
from disentangle_bench.train.fit import Trained
from disentangle_bench.train.loop import train


def train_alone(objective, spec, dataset) -> Trained:
    """The run `spec` trained on the device of `dataset`; it must not diverge."""
    alone = Alone(objective, spec, dataset)
    (result,) = train(alone)
    assert result.failure is None, result.failure
    return Trained(alone.networks(0), result.curves, result.seconds)
