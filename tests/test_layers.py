"""Imports point down the floors of the package, and importing it stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_ilvae

PACKAGE = Path(sklearn_ilvae.__file__).parent

# From the top floor to the ground. Modules on one floor may import each other.
FLOORS = [
    ["sklearn_ilvae"],
    ["_transformer", "_outlier", "_score"],
    ["inspection"],
    [
        "inspection.column_summary",
        "inspection.contributions",
        "inspection.field",
        "inspection.histogram",
        "inspection.latent_map",
        "inspection.latent_usage",
        "inspection.missingness",
        "inspection.path",
        "inspection.training_curve",
    ],
    ["inspection._targets"],
    ["inspection._style", "inspection._tables"],
    ["metrics"],
    ["metrics.collapse", "metrics.divergences"],
    ["_detection"],
    ["_detection.conformal"],
    [
        "_detection.gaps",
        "_detection.reasons",
        "_detection.reservoir",
        "_detection.scoring",
        "_detection.threshold",
        "_detection.trust",
    ],
    ["_training"],
    ["_training.continuing"],
    ["_training.net", "_training.setup"],
    ["_training.callbacks"],
    ["_training.batches", "_training.recording"],
    ["_tables"],
    ["_html", "_state"],
    ["_columns"],
    ["_columns.readable", "_columns.seen"],
    [
        "_columns.building",
        "_columns.keeping",
        "_columns.reading",
        "_columns.scaling",
        "_columns.summary",
    ],
    ["_columns.powers", "_columns.schema", "_columns.support", "_columns.validation"],
    [
        "_columns.arrays",
        "_columns.cores",
        "_columns.frames",
        "_columns.kinds",
        "_columns.levels",
        "_columns.moments",
        "_columns.refusals",
    ],
    ["_checks", "_device", "_pipelines", "_random", "_sklearn", "_text"],
    ["vae", "stein"],
    [
        "vae.averaging",
        "vae.concentration",
        "vae.diagnostics",
        "vae.imputation",
        "vae.laplace",
        "vae.neighbours",
        "vae.start",
    ],
    ["vae.diagnostics.fisher", "vae.diagnostics.information"],
    ["vae.diagnostics.chunks"],
    ["vae.bounds"],
    ["vae.posterior"],
    ["vae.autoencoder"],
    ["vae.decoders", "vae.encoders", "vae.priors"],
    ["vae.axes"],
    ["vae.completion", "vae.design"],
    ["vae.likelihoods"],
    ["vae.likelihoods.mixed"],
    ["vae.likelihoods.continuous", "vae.likelihoods.counts", "vae.likelihoods.levels"],
    ["vae.likelihoods.heads", "vae.likelihoods.layout"],
    ["vae.maps"],
    ["vae.networks", "vae.observed", "vae.symlog"],
    ["stein.estimation"],
    ["stein.fitting", "stein.state"],
    ["stein.divergences", "stein.functional", "stein.model"],
    ["stein.selection.refinement"],
    ["stein.selection.search"],
    ["stein.selection.cross_validation"],
    [
        "stein.selection.comparison",
        "stein.selection.folds",
        "stein.selection.options",
    ],
    ["stein.selection.candidates", "stein.selection.quadratic"],
    ["stein.selection.bandwidths", "stein.selection.frames"],
    ["stein.bases.fitted"],
    ["stein.bases.families"],
    ["stein.bases.gaussian"],
    ["stein.bases.few_rows"],
    ["stein.bases.many_rows", "stein.bases.mixture", "stein.bases.student"],
    ["stein.bases.elliptical"],
    ["stein.kernels.forms", "stein.kernels.published"],
    ["stein.kernels.curl_free", "stein.kernels.diagonal"],
    ["stein.settings"],
    ["stein.kernels.radial", "stein.kernels.solvers"],
    ["stein.sample.atoms", "stein.sample.moments", "stein.sample.planes"],
    ["stein.sample.reading", "stein.sample.splits"],
    ["stein.sample.rows"],
    ["stein.products"],
    ["stein.bases", "stein.kernels", "stein.sample", "stein.selection"],
]
FLOOR_OF = {module: number for number, floor in enumerate(FLOORS) for module in floor}

PLAIN_TORCH = ("vae", "stein")
NOT_IN_PLAIN_TORCH = {"sklearn", "skorch", "pandas"}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return ".".join(parts) or "sklearn_ilvae"


def imported_names(path, source):
    """Return the absolute dotted name of everything that a source file imports.

    ``from a import b`` counts as a.b: b may be a module.
    """
    package = ("sklearn_ilvae", *path.relative_to(PACKAGE).parent.parts)
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            names += [".".join((*base, alias.name)) for alias in node.names]
    return names


def own_module(name):
    """Return the module of the package that a dotted name lies in, or None."""
    top, *parts = name.split(".")
    if top != "sklearn_ilvae":
        return None
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in FLOOR_OF:
            return ".".join(parts[:length])
    return "sklearn_ilvae"


def upward_imports(path, source):
    importer = FLOOR_OF[module_name(path)]
    modules = map(own_module, imported_names(path, source))
    return [each for each in modules if each and FLOOR_OF[each] < importer]


SOURCES = sorted(PACKAGE.rglob("*.py"))
by_file = pytest.mark.parametrize("path", SOURCES, ids=map(module_name, SOURCES))


@by_file
def test_every_module_has_a_floor(path):
    assert module_name(path) in FLOOR_OF


@by_file
def test_no_module_imports_from_a_higher_floor(path):
    assert upward_imports(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("file", "source", "found"),
    [
        ("_columns.py", "from ._transformer import ILVAETransformer", "_transformer"),
        ("_columns.py", "from sklearn_ilvae import metrics", "metrics"),
        ("vae/maps.py", "def f():\n    from .decoders import DECODERS", "vae.decoders"),
        ("vae/maps.py", "from . import start", "vae.start"),
        ("vae/maps.py", "from . import DECODERS", "vae"),
        ("vae/start.py", "from .._columns import to_tensor", "_columns"),
        ("metrics/collapse.py", "import sklearn_ilvae", "sklearn_ilvae"),
        ("stein/settings.py", "from .model import ScoreModel", "stein.model"),
    ],
)
def test_an_upward_import_is_found_however_it_is_written(file, source, found):
    assert upward_imports(PACKAGE / file, source) == [found]


@by_file
def test_the_mathematics_is_plain_torch(path):
    if module_name(path).startswith(PLAIN_TORCH):
        names = imported_names(path, path.read_text())
        assert {name.split(".")[0] for name in names}.isdisjoint(NOT_IN_PLAIN_TORCH)


@by_file
def test_networks_and_scores_do_not_know_each_other(path):
    top = module_name(path).split(".")[0]
    used = map(own_module, imported_names(path, path.read_text()))
    others = {name.split(".")[0] for name in used if name}
    assert top not in PLAIN_TORCH or others <= {top}


@by_file
def test_private_names_of_scikit_learn_stay_in_one_file(path):
    names = imported_names(path, path.read_text())
    private = [
        name
        for name in names
        if name.startswith("sklearn.") and any(p[0] == "_" for p in name.split("."))
    ]
    assert private == [] or path.name == "_sklearn.py"


def test_importing_the_package_imports_no_optional_library():
    # skorch itself imports pandas where there is any: what counts is what we add.
    code = (
        "import sys, skorch, sklearn.callback\n"
        "before = set(sys.modules)\n"
        "import sklearn_ilvae\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    added = set(result.stdout.split())
    assert "sklearn_ilvae" in added
    assert added.isdisjoint({"matplotlib", "pandas", "polars", "dask", "rich"})
