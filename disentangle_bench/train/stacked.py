"""Many runs as one program: every tensor has a first axis of runs, seeds and hyper-parameters are tensors too.

Objectives and networks are written for one run; `torch.func.vmap` adds the axis. A step is drawn, computed and applied
on the device without the host: on a GPU it is compiled once, captured as a CUDA graph, and then only replayed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.convolution import use_products
from disentangle_bench.models.objective import Log, Losses, Objective
from disentangle_bench.spec import RunSpec
from disentangle_bench.train import randomness
from disentangle_bench.train.adam import adam_update
from disentangle_bench.train.alone import Networks, adam_settings, as_floats, build_networks, in_precision
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.gradients import distinct_losses, gradients_of
from disentangle_bench.train.precision import PRECISIONS, caller

Weights = dict[str, dict[str, Tensor]]  # by network, by parameter: [runs, ...]

WARM_UP = 3  # steps before a capture, as torch asks for
IN_FLIGHT = 64  # steps that may wait in a GPU's queue; a stop or a checkpoint has to wait for them


class Stacked:
    """The training of runs that share a program, as one (see `train.loop.Program`).

    `compiled` has torch compile the update; `captured` replays the step as a CUDA graph. Raises ValueError where the
    runs differ in more than seed and hyper-parameters.
    """

    def __init__(
        self,
        objective: Objective,
        specs: Sequence[RunSpec],
        dataset: FactorDataset,
        *,
        compiled: bool,
        captured: bool,
    ) -> None:
        self.specs = tuple(specs)
        if any(spec.program != specs[0].program for spec in specs):
            raise ValueError("runs of one stack differ in nothing but seed and hyper-parameters")
        self.step = 0
        self.objective = objective
        self.device = dataset.device
        self.precision = PRECISIONS[specs[0].training.precision]
        self.batch_size = specs[0].training.batch_size
        self.template, self.weights = self._initial(dataset.image_shape)
        self.means = _zeros_like(self.weights)
        self.squares = _zeros_like(self.weights)
        self.adam = adam_settings(objective, self.template, specs[0].training)
        self.seeds = torch.tensor([spec.seed for spec in specs], device=self.device)
        self.hyper = {
            name: torch.tensor([spec.hypers[name] for spec in specs], dtype=self.precision.kept).to(
                self.device
            )
            for name in specs[0].hypers
        }
        self.batches = Batches(specs[0].dataset, dataset)
        self.draws = objective.draws(self.batch_size, specs[0].network.latents)
        self.clock = torch.zeros(
            (), dtype=torch.int64, device=self.device
        )  # `step`, where the device sees it
        self.sums: Log = {}
        self.compilation = "none"
        self._compiled = compiled
        self._update: Callable[..., Log] = self._plain_update
        self._captured = captured
        self._graph: torch.cuda.CUDAGraph | None = None
        self._steps_here = 0
        self._behind = torch.cuda.Event() if self.device.type == "cuda" else None

    def advance(self) -> None:
        """One more step of every run; on a GPU it may only be queued."""
        if self._graph is not None:
            self._graph.replay()
        elif self._captured and self._steps_here == WARM_UP:
            self._capture().replay()
        elif self._captured:
            self._on_a_side_stream(self._step)
        else:
            self._step()
        self.step += 1
        self._steps_here += 1
        if self._behind is not None and self._steps_here % IN_FLIGHT == 0:
            self._behind.synchronize()
            self._behind.record()

    def take_sums(self) -> list[dict[str, Tensor]]:
        """Each run's logged values summed over the steps since the last call, on the CPU."""
        sums = {name: _on_cpu(value) for name, value in self.sums.items()}
        for value in self.sums.values():
            value.zero_()
        return [{name: value[run] for name, value in sums.items()} for run in range(len(self.specs))]

    def state(self) -> dict[str, Tensor]:
        """Weights, Adam's moments and unfinished sums [runs, ...], on the CPU."""
        tensors = {f"sums.{name}": value for name, value in self.sums.items()}
        for part in ("weights", "means", "squares"):
            for name, own in getattr(self, part).items():
                tensors |= {f"{part}.{name}.{key}": value for key, value in own.items()}
        return {key: _on_cpu(value) for key, value in tensors.items()}

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on from what `state()` gave after `step` steps."""
        self.step = step
        self.clock.fill_(step)
        for part in ("weights", "means", "squares"):
            for name, own in getattr(self, part).items():
                for key, value in own.items():
                    value.copy_(state[f"{part}.{name}.{key}"])
        self.sums = {
            key.removeprefix("sums."): value.to(self.device)
            for key, value in state.items()
            if key.startswith("sums.")
        }

    def networks(self, run: int) -> Networks:
        """The run's networks as plain modules in float32."""
        found = copy.deepcopy(self.template)
        for name, network in found.items():
            network.load_state_dict({key: value[run] for key, value in self.weights[name].items()})
            network.to(torch.float32)
        return found

    def _initial(self, image_shape: tuple[int, int, int]) -> tuple[Networks, Weights]:
        """Networks to run the weights in, and each run's initial weights, those of the run alone."""
        cpu = torch.device("cpu")
        runs = [
            build_networks(self.objective, image_shape, spec.network, spec.seed, cpu) for spec in self.specs
        ]
        template = {name: network.to(self.device, self.precision.kept) for name, network in runs[0].items()}
        weights = {
            name: {
                key: torch.stack([dict(run[name].named_parameters())[key].detach() for run in runs])
                .to(self.device, self.precision.kept)
                .contiguous()
                for key, _ in network.named_parameters()
            }
            for name, network in template.items()
        }
        return template, weights

    def _step(self) -> None:
        """Everything of one step, from the draws on; nothing of it waits for the host."""
        self.clock.add_(1)
        images = self.batches.step_images(self.seeds, self.clock, self.objective, self.batch_size)
        noise = randomness.draw(self.draws, self.seeds, self.clock)
        inputs = (self.weights, self.means, self.squares, images, noise, self.hyper, self.clock)
        if self._compiled and self._steps_here == 0:
            self._compile(inputs)
        log = self._update(*inputs)
        if not self.sums:
            self.sums = {name: torch.zeros_like(value) for name, value in log.items()}
        for name, value in log.items():
            self.sums[name].add_(value)

    def _plain_update(
        self,
        weights: Weights,
        means: Weights,
        squares: Weights,
        images: Tensor,
        noise: dict[str, Tensor],
        hyper: dict[str, Tensor],
        step: Tensor,
    ) -> Log:
        """Weights and moments of all runs moved in place by each network's own loss. Returns the log [runs, ...]."""
        leaves = {
            name: {key: value.detach().requires_grad_() for key, value in own.items()}
            for name, own in weights.items()
        }
        losses, log = stacked_losses(
            self.objective, self.template, leaves, as_floats(images, self.precision.kept),
            in_precision(noise, self.precision.kept), hyper, step, self.specs[0].training.precision,
        )  # fmt: skip
        # Runs do not touch each other, so the gradient of the sum over runs is each run's own.
        gradients = gradients_of(
            [(loss.sum(), names) for loss, names in losses],
            {name: list(own.values()) for name, own in leaves.items()},
        )
        with torch.no_grad():
            for name, own in weights.items():
                adam_update(
                    list(own.values()), gradients[name], list(means[name].values()),
                    list(squares[name].values()), step, self.adam[name],
                )  # fmt: skip
        return {name: value.detach() for name, value in log.items()}

    def _compile(self, inputs: tuple[object, ...]) -> None:
        """Use the compiled update from here on; where it cannot be had, `compilation` says why.

        Compiling wants a C compiler, and on a GPU Triton. Without them training is slower and otherwise the same.
        """
        try:
            update = compiled_update(self._plain_update, inputs)
            update(*copy.deepcopy(inputs))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self.compilation = f"failed: {type(error).__name__}: {str(error).splitlines()[0]}"
        else:
            self.compilation = "compiled"
            self._update = update

    def _on_a_side_stream(self, work: Callable[[], None]) -> None:
        """A capture must be preceded by the same work on a stream that is not the default one."""
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            work()
        torch.cuda.current_stream(self.device).wait_stream(stream)

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Record one step as a CUDA graph; recording does not execute it."""
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._step()
        return self._graph


def stacked_losses(
    objective: Objective,
    networks: Mapping[str, nn.Module],
    weights: Weights,
    images: Tensor,
    noise: dict[str, Tensor],
    hyper: dict[str, Tensor],
    step: Tensor,
    precision: str,
) -> tuple[list[tuple[Tensor, list[str]]], Log]:
    """Every run's distinct losses [runs] with the networks that descend them, and the log [runs, ...].

    All inputs but `step` have a first axis of runs.
    """
    owners: list[list[str]] = []

    def one_run(
        weights: Weights, images: Tensor, noise: dict[str, Tensor], hyper: dict[str, Tensor]
    ) -> tuple[list[Tensor], Log]:
        call = caller(networks, weights, PRECISIONS[precision])
        found: Losses
        found, log = objective.losses(call, images, noise, hyper, step)
        distinct = distinct_losses(found, networks)
        owners[:] = [names for _, names in distinct]
        return [loss for loss, _ in distinct], log

    use_products(networks.values())
    losses, log = vmap(one_run)(weights, images, noise, hyper)
    return list(zip(losses, owners, strict=True)), log


def compiled_update(update: Callable[..., Log], inputs: tuple[object, ...]) -> Callable[..., Log]:
    """`update`, traced at these inputs and compiled; the inputs are left as they are."""
    return torch.compile(traced_update(update, inputs), fullgraph=True, dynamic=False)


def traced_update(update: Callable[..., Log], inputs: tuple[object, ...]) -> Callable[..., Log]:
    """`update` as a plain list of tensor operations, its backward passes among them.

    `torch.compile` by itself does not look into `torch.autograd.grad`.
    """

    def traceable(weights, means, squares, images, noise, hyper, step):  # type: ignore[no-untyped-def]
        return update(weights, means, squares, images, noise, hyper, step)

    return make_fx(traceable)(*copy.deepcopy(inputs))


def _zeros_like(weights: Weights) -> Weights:
    return {
        name: {key: torch.zeros_like(value) for key, value in own.items()} for name, own in weights.items()
    }


def _on_cpu(value: Tensor) -> Tensor:
    """A copy, also where it is on the CPU already: the original goes on changing."""
    return value.to("cpu", copy=True)
