"""The reference lists all that is public, and all that is public has an example."""

import re
from pathlib import Path
from types import ModuleType

import pytest

import sklearn_ilvae
from sklearn_ilvae import inspection, metrics, stein, vae

ROOT = Path(__file__).parents[1]
PUBLIC = [
    (module, name)
    for module in (sklearn_ilvae, inspection, metrics, stein, vae)
    for name in module.__all__
    if name != "DECODERS"  # a tuple of names, in the documentation of make_decoder
]


def listed() -> set[tuple[str, str]]:
    """Return module and name of everything in the reference."""
    found, module = set(), ""
    for line in (ROOT / "doc/api/index.rst").read_text().splitlines():
        if line.startswith(".. currentmodule::"):
            module = line.split("::")[1].strip()
        elif re.fullmatch(r"   \w+", line):
            found.add((module, line.strip()))
    return found


def test_the_reference_lists_all_public_names() -> None:
    assert listed() == {(module.__name__, name) for module, name in PUBLIC}


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_every_public_object_has_an_example(module: ModuleType, name: str) -> None:
    assert ">>>" in (getattr(module, name).__doc__ or "")


def test_every_example_says_what_it_teaches() -> None:
    for path in sorted((ROOT / "examples").glob("plot_*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert set(lines[1]) == {"="}, path
        assert len(lines[1]) == len(lines[2]) == len(lines[3]), path


def test_continuous_integration_can_find_the_command() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert re.search(r"<!-- documentation -->\n```bash\n.*?sphinx -W", text, re.DOTALL)


def test_a_source_distribution_holds_no_picture_that_the_site_made() -> None:
    # Unlike git, hatchling takes an exception for a file of an ignored folder as well:
    # each must be one file, not a pattern.
    lines = (ROOT / ".gitignore").read_text().splitlines()
    exceptions = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert exceptions
    assert all((ROOT / path).is_file() for path in exceptions)
