"""From a name to the thing itself: a line of the tables below, or "module:attribute".

The tables hold paths, not objects, so that listing names imports nothing heavy. A new model, metric or data set of the
tree is one file and one line here.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from disentangle_bench.errors import BenchError, unknown_name

MODELS = {
    "vae": "disentangle_bench.models.vae:VAE",
    "beta_vae": "disentangle_bench.models.vae:BetaVAE",
    "factor_vae": "disentangle_bench.models.factor_vae:FactorVAE",
    "beta_tcvae": "disentangle_bench.models.beta_tcvae:BetaTCVAE",
    "dip_vae_1": "disentangle_bench.models.dip_vae:DIPVAE1",
    "dip_vae_2": "disentangle_bench.models.dip_vae:DIPVAE2",
    "annealed_vae": "disentangle_bench.models.annealed_vae:AnnealedVAE",
    "info_vae": "disentangle_bench.models.info_vae:InfoVAE",
    "ada_gvae": "disentangle_bench.models.ada_gvae:AdaGVAE",
    "qlae": "disentangle_bench.models.qlae:QLAE",
    "autoencoder": "disentangle_bench.models.autoencoder:Autoencoder",
    "sparse_autoencoder": "disentangle_bench.models.autoencoder:SparseAutoencoder",
    "denoising_autoencoder": "disentangle_bench.models.denoising_autoencoder:DenoisingAutoencoder",
    "stacked_autoencoder": "disentangle_bench.models.stacked_autoencoder:StackedAutoencoder",
    "pca": "disentangle_bench.models.linear:PCA",
    "ica": "disentangle_bench.models.linear:ICA",
}

DATASETS = {
    "dsprites": "disentangle_bench.data.registered:DSprites",
    "shapes3d": "disentangle_bench.data.registered:Shapes3D",
    "cars3d": "disentangle_bench.data.registered:CARS3D",
    "cars3d_128": "disentangle_bench.data.registered:CARS3D_128",
    "smallnorb": "disentangle_bench.data.registered:SmallNORB",
    "mpi3d_toy": "disentangle_bench.data.registered:MPI3D_TOY",
    "mpi3d_realistic": "disentangle_bench.data.registered:MPI3D_REALISTIC",
    "mpi3d_real": "disentangle_bench.data.registered:MPI3D_REAL",
    "mpi3d_real_complex": "disentangle_bench.data.registered:MPI3D_REAL_COMPLEX",
    "isaac3d": "disentangle_bench.data.registered:Isaac3D",
    "mnist": "disentangle_bench.data.registered_images:DIGITS",
    "fashion_mnist": "disentangle_bench.data.registered_images:CLOTHES",
    "celeba": "disentangle_bench.data.registered_images:CelebA",
    "dsprites_rendered": "disentangle_bench.data.registered:DSpritesRendered",
    "shapes3d_rendered": "disentangle_bench.data.registered:Shapes3DRendered",
    "dsprites_drawn": "disentangle_bench.data.drawn:DSpritesDrawn",
    "shapes3d_drawn": "disentangle_bench.data.drawn:Shapes3DDrawn",
    "color_dsprites": "disentangle_bench.data.registered:COLOR_DSPRITES",
    "noisy_dsprites": "disentangle_bench.data.registered:NOISY_DSPRITES",
    "scream_dsprites": "disentangle_bench.data.registered:SCREAM_DSPRITES",
    "color_dsprites_rendered": "disentangle_bench.data.registered:COLOR_DSPRITES_RENDERED",
    "noisy_dsprites_rendered": "disentangle_bench.data.registered:NOISY_DSPRITES_RENDERED",
    "scream_dsprites_rendered": "disentangle_bench.data.registered:SCREAM_DSPRITES_RENDERED",
}

METRICS = {
    "factor_vae": "disentangle_bench.metrics.factor_vae:METRIC",
    "mig": "disentangle_bench.metrics.mig:METRIC",
    "beta_vae": "disentangle_bench.metrics.beta_vae:METRIC",
    "sap": "disentangle_bench.metrics.sap:METRIC",
    "sap_continuous": "disentangle_bench.metrics.sap:CONTINUOUS",
    "modularity": "disentangle_bench.metrics.modularity:METRIC",
    "explicitness": "disentangle_bench.metrics.explicitness:METRIC",
    "dci": "disentangle_bench.metrics.dci:METRIC",
    "irs": "disentangle_bench.metrics.irs:METRIC",
    "mig_sup": "disentangle_bench.metrics.mig_sup:METRIC",
    "jemmig": "disentangle_bench.metrics.jemmig:METRIC",
    "dcimig": "disentangle_bench.metrics.dcimig:METRIC",
    "infomec": "disentangle_bench.metrics.infomec:METRIC",
    "unsupervised": "disentangle_bench.metrics.unsupervised:METRIC",
    "downstream_logistic": "disentangle_bench.metrics.downstream:LOGISTIC",
    "downstream_gbt": "disentangle_bench.metrics.downstream:BOOSTED",
    "unfairness": "disentangle_bench.metrics.unfairness:METRIC",
    "strong_generalisation": "disentangle_bench.metrics.strong_generalisation:METRIC",
    "omes": "disentangle_bench.metrics.omes:METRIC",
    "mcc": "disentangle_bench.metrics.identifiability:MCC",
    "r2_identifiability": "disentangle_bench.metrics.identifiability:R2",
}

# Metrics of the tree that are scored only where they are named: "all metrics" of a calibration means all others.
ON_REQUEST = (
    *("downstream_logistic", "downstream_gbt", "unfairness", "strong_generalisation"),
    *("mcc", "r2_identifiability"),
)

# "local" is the process itself: see study/study.py.
LAUNCHERS = {
    "local": "disentangle_bench.study.launchers.here:Here",
    "ray": "disentangle_bench.study.launchers.ray:OnRay",
}

CALLBACKS = {
    "tensorboard": "disentangle_bench.callbacks.tensorboard:TensorBoard",
    "wandb": "disentangle_bench.callbacks.wandb:WandB",
    "mlflow": "disentangle_bench.callbacks.mlflow:MLflow",
}

# A data set may also be named by its path; this is its source.
PATH_SOURCE = "disentangle_bench.data.user:UserSource"

TABLES = {"model": MODELS, "data set": DATASETS, "metric": METRICS, "launcher": LAUNCHERS, "encoder": {}} | {
    "callback": CALLBACKS
}
ENTRY_POINTS = {
    "model": "disentangle_bench.models",
    "data set": "disentangle_bench.datasets",
    "metric": "disentangle_bench.metrics",
    "launcher": "disentangle_bench.launchers",
    "encoder": "disentangle_bench.encoders",
    "callback": "disentangle_bench.callbacks",
}


def names(kind: str) -> list[str]:
    """All names of `kind`, one of TABLES: the tree's, then those of installed packages."""
    return [*TABLES[kind], *sorted(_installed(kind))]


def check(kind: str, name: str) -> None:
    """Raise BenchError with the nearest names unless `name` is known for `kind` or reads "module:attribute"."""
    if ":" not in name and name not in names(kind) and not (kind == "data set" and is_path(name)):
        raise unknown_name(kind, name, names(kind))


def is_path(name: str) -> bool:
    """Whether a data set's name is to be read as the path of somebody's own file or folder."""
    return name.endswith((".npz", ".h5", ".hdf5", ".parquet")) or "/" in name or os.path.exists(name)


def lasting(name: str) -> str:
    """A data set's name that leads to the same data from any directory: a path becomes an absolute one."""
    return os.path.abspath(name) if name not in names("data set") and is_path(name) else name


def resolve(kind: str, name: str) -> Any:
    """The object behind `name`: the tree's, an installed package's, or "module:attribute"; a data set's class, made.

    A module that is not installed may be a file of that name in the current directory. Raises BenchError for an
    unknown name, for one that two packages claim, and for a module or attribute that cannot be had, with its error.
    """
    check(kind, name)
    if kind == "data set" and name not in names(kind) and is_path(name):
        return _imported(kind, name, PATH_SOURCE)(Path(name))
    if name in TABLES[kind] and name in _installed(kind):
        raise BenchError(
            f"{kind} {name!r} is this package's own; {_installed(kind)[name]} must choose another name"
        )
    return _imported(
        kind, name, TABLES[kind].get(name) or _installed(kind).get(name) or name, made=kind == "data set"
    )


def _imported(kind: str, name: str, target: str, made: bool = False) -> Any:
    """What stands at `target`, "module:attribute"; an object of it where it is a class and is to be `made`."""
    module_name, _, attribute = target.partition(":")
    try:
        found = getattr(_module(module_name), attribute)
        return found() if made and isinstance(found, type) else found
    except (
        Exception,
        SystemExit,
    ) as error:  # anyone's code runs here; whatever it raises, its name belongs to the message
        raise BenchError(f"{kind} {name!r} cannot be loaded: {type(error).__name__}: {error}") from error


def check_allowed(kind: str, name: str, allow: Collection[str] = ()) -> None:
    """Raise BenchError where `name`, read from somebody's file, leads to code that the user has not named.

    Free to use are names of this package and of installed ones, paths of data, what a loaded plug-in holds, and what
    `allow` lists as "module:name" or, for all names of it, "module".
    """
    module = name.partition(":")[0]
    data = kind == "data set" and is_path(name)
    if ":" not in name or data or module in _PLUGINS or name in allow or module in allow:
        return
    raise BenchError(
        f"the {kind} {name!r} is code that is not this package's, and nothing that a study says is run unasked. If you"
        f" trust it, give --allow {shlex.quote(name)} (in Python: allow=[{name!r}])"
    )


def load_plugin(path: Path) -> list[str]:
    """Import the Python file `path` and give the names of its metrics, as "module:attribute".

    Its metrics are its Metric objects and the public functions it defines whose first parameters are `codes` and
    `factors`. Its models and data sets can be named in a grid, likewise as "module:attribute". It can import files
    beside it. Raises BenchError where it cannot be imported, with its error.
    """
    if not path.is_file():
        raise BenchError(f"there is no plug-in file {path}")
    try:
        module = _import_file(path.stem, path)
    except (Exception, SystemExit) as error:  # a script's own exit would end all of this
        raise BenchError(f"the plug-in {path} cannot be loaded: {type(error).__name__}: {error}") from error
    return [f"{path.stem}:{name}" for name, value in vars(module).items() if _is_metric(name, value, module)]


def why_no_metric(path: Path) -> str:
    """Why the plug-in `path`, which was loaded, offers no metric."""
    functions = [
        f"{name}({', '.join(inspect.signature(value).parameters)})"
        for name, value in vars(sys.modules[path.stem]).items()
        if inspect.isfunction(value) and value.__module__ == path.stem
    ]
    found = f"only {', '.join(functions)}" if functions else "no function"
    return (
        f"the plug-in {path} has no metric: a metric is a public function whose first two parameters are called"
        f" codes and factors, or a Metric object; it has {found}. Models and data sets are named in the grid, as"
        f" {path.stem + ':NAME'!r}"
    )


def plugin_files() -> list[Path]:
    """The files of all plug-ins that were loaded, so that another process can load them too."""
    return [Path(file) for name in sorted(_PLUGINS) if (file := sys.modules[name].__file__) is not None]


def _is_metric(name: str, value: Any, module: ModuleType) -> bool:
    if name.startswith("_"):
        return False
    if inspect.isfunction(value):
        return value.__module__ == module.__name__ and list(inspect.signature(value).parameters)[:2] == [
            "codes",
            "factors",
        ]
    return not inspect.isclass(value) and hasattr(value, "score") and hasattr(value, "headlines")


def _module(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    file = Path(f"{name}.py")
    if importlib.util.find_spec(name.partition(".")[0]) is None and file.is_file():
        return _import_file(name, file)
    return importlib.import_module(name)


def _import_file(name: str, path: Path) -> ModuleType:
    """The module in this file, known to later imports by `name`."""
    installed = None if name in _PLUGINS else importlib.util.find_spec(name)
    if installed is not None and (
        installed.origin is None or Path(installed.origin).resolve() != path.resolve()
    ):
        raise ImportError(f"{name!r} is the name of an installed module; give the file another name")
    spec = importlib.util.spec_from_file_location(name, path.absolute())
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last, so that nothing beside the plug-in hides what is installed
    sys.modules[name] = module
    _PLUGINS.add(name)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


# Modules that came from plug-in files, which may be loaded again under the same name.
_PLUGINS: set[str] = set()


@functools.cache
def _installed(kind: str) -> dict[str, str]:
    """Names that installed packages offer for `kind`, and where they lead. BenchError for a name claimed twice."""
    found: dict[str, str] = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS[kind]):
        if found.get(entry.name, entry.value) != entry.value:
            raise BenchError(
                f"{kind} {entry.name!r} is offered by both {found[entry.name]} and {entry.value}"
            )
        found[entry.name] = entry.value
    return found
