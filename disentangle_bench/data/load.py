"""From a name to a data set: which loader, which folder, which part, which device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench import registry
from disentangle_bench.data.smaller import at_size
from disentangle_bench.data.source import DataSource
from disentangle_bench.data.subgrid import subgrid
from disentangle_bench.errors import BenchError
from disentangle_bench.shown import settings

if TYPE_CHECKING:
    import torch

    from disentangle_bench.data.factor_dataset import FactorDataset, Notify


def load_dataset(
    name: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    every: Mapping[str, int] | None = None,
    size: int | None = None,
    data_dir: Path | str | None = None,
    device: torch.device | str = "cpu",
    notify: Notify | None = None,
) -> FactorDataset:
    """Load a data set whose images are named by the values of their factors.

    Parameters
    ----------
    name
        A registered name (`bench list datasets` shows them), "module:Class" for a data set by code, or the path of
        your own file or folder.
    parameters
        What a data set with parameters, such as `dsprites_drawn`, shows: `{"shapes": ["heart"], "scales": 4}`.
    every
        Keeps every k-th value of the factors that it names: `{"orientation": 5}` keeps the orientations 0, 5, 10, ...
    size
        Makes images smaller: each is averaged over blocks of pixels to `size` x `size`.
    data_dir
        The folder of files and caches; `default_data_dir()` unless given.
    device
        The device of the images, and of what `images` and `factors` return.
    notify
        A function, called as `notify(what, done, total)` while files are read or images drawn.

    Returns
    -------
    FactorDataset
        Images (`images(index)`, uint8 [n, channels, height, width]) with their factors (`factors(index)`, int64
        [n, factors]) and back (`index(factors)`). It is a torch `Dataset` too: `dataset[i]` is a pair of an image
        uint8 [channels, height, width] and its factors int64 [factors].

    Raises
    ------
    BenchError
        If the name is unknown, the data set lacks the parameters, factors or steps in `every`, a file is missing or
        not what it should be, or the images do not fit on the device.

    Examples
    --------
    >>> from disentangle_bench import load_dataset
    >>> dataset = load_dataset("dsprites_rendered", every={"orientation": 5, "posX": 4, "posY": 4})
    >>> len(dataset), dataset.factor_sizes
    (9216, (3, 6, 8, 8, 8))
    >>> image, factors = dataset[100]
    >>> image.shape, image.dtype, factors
    (torch.Size([1, 64, 64]), torch.uint8, tensor([0, 0, 1, 4, 4]))
    """
    from disentangle_bench.data.checks import check_loaded

    source = find_source(name, parameters)
    folder = default_data_dir() if data_dir is None else Path(data_dir)
    dataset = source.load(data_dir=folder, notify=notify)
    check_loaded(source, dataset)
    return at_size(subgrid(dataset, every or {}), size).to(device)


def find_source(name: str, parameters: Mapping[str, Any] | None = None) -> DataSource:
    """What is known of the data set called `name` (registered, "module:Class" or a path) and how to load it.

    Raises BenchError for an unknown name, a path where there is no data set, an object that is no DataSource, for
    parameters that it does not take, and for facts that are missing or do not fit together.
    """
    source = registry.resolve("data set", name)
    if not isinstance(source, DataSource):
        raise BenchError(f"data set {name!r} is {type(source).__name__!r}: it must be a DataSource")
    if parameters:
        try:
            source = source.with_parameters(**parameters)
        except BenchError:
            raise
        except (Exception, SystemExit) as error:  # anyone's code
            reason = f"{type(error).__name__}: {error}"
            raise BenchError(
                f"data set {name!r} cannot be had with {settings(parameters)}: {reason}"
            ) from error
        if not isinstance(source, DataSource):
            raise BenchError(
                f"data set {name!r}: with_parameters gives {type(source).__name__!r}, not a DataSource"
            )
    source.check_facts()
    return source


def default_data_dir() -> Path:
    """DISENTANGLE_BENCH_DATA if it is set, else ./datasets where there is one, else a cache of the user's."""
    named = os.environ.get("DISENTANGLE_BENCH_DATA")
    if named:
        return Path(named).expanduser()
    checkout = Path("datasets")
    if checkout.is_dir():
        return checkout.absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "disentangle_bench"
