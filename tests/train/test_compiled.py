"""The compiled update of a stack is the eager one."""

import copy
import os
import shutil
from collections.abc import Iterator

import pytest
import torch
import torch._inductor.config
from stack_cases import CASES, distance, runs_of, stacked
from torch.utils import _pytree as pytree

from disentangle_bench.train.compiled import compiled_update

COMPILER = os.environ.get("CXX", "g++")
# One model is compiled with every run of the tests; the others take minutes.
OFTEN = "vae"
EVERY = [
    pytest.param(*case.values, id=case.id, marks=[pytest.mark.slow] if case.id != OFTEN else [])
    for case in CASES
]


@pytest.fixture(autouse=True)
def no_known_fault() -> Iterator[None]:
    """Where torch's code for CPUs is known to be wrong, keep it from what makes it so.

    Torch before 2.12 reorders the kernels of a linear layer such that Adam moves its weight before the product that
    makes the gradient of what lies below has read it.
    """
    before = tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 12)
    changed = {"reorder_for_peak_memory": False} if before else {}
    torch._dynamo.reset()
    with torch._inductor.config.patch(changed):
        yield


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"there is no C++ compiler {COMPILER}")
@pytest.mark.parametrize(("model", "network"), EVERY)
def test_the_compiled_update_is_the_eager_one(model: str, network: dict) -> None:
    stack = stacked(runs_of(model, network=network))
    stack.clock.fill_(1)
    index, noise = stack.draws.numbers(stack.seeds, stack.clock)
    images = stack.draws.images(index, stack.seeds, stack.clock)
    inputs = (stack.weights, stack.means, stack.squares, images, noise, stack.hyper, stack.clock)
    eager, compiled = copy.deepcopy(inputs), copy.deepcopy(inputs)
    update = compiled_update(stack.plain_update, inputs)
    for _ in range(2):
        theirs, ours = stack.plain_update(*eager), update(*compiled)
        assert ours.keys() == theirs.keys()
        results = (*compiled[:3], ours), (*eager[:3], theirs)
        for one, other in zip(*map(pytree.tree_leaves, results), strict=True):
            if one.any() or other.any():
                assert distance(one, other) < 1e-9
