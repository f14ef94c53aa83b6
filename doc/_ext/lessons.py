"""The gallery: what a newcomer needs first, and that no example takes over a minute."""

from pathlib import Path
from time import process_time

from sphinx.errors import ExtensionError
from sphinx.util import logging

LESSONS = [
    "first_fit",
    "is_it_collapsing",
    "grid_search",
    "compare_decoders",
    "new_rows",
    "mixed_table",
    "outliers",
    "calibrated_alarms",
    "score_estimation",
    "hamiltonian",
    "implicit_sampler",
]

LIMIT = 60.0
"""Most seconds of processor time of an example, which other processes do not change."""

_started: dict[str, float] = {}
_taken: dict[str, float] = {}


def order_of_lessons(file_name):
    """Sort by the list, and what it does not name behind, by name."""
    name = Path(file_name).stem.removeprefix("plot_")
    place = LESSONS.index(name) if name in LESSONS else len(LESSONS)
    return place, name


def clock(gallery_conf, file_name, when):
    """Take the time of an example; sphinx-gallery calls this before and after each."""
    if file_name is None:
        return
    name = Path(file_name).stem
    if when == "before":
        _started[name] = process_time()
    else:
        _taken[name] = process_time() - _started.pop(name)


def report(app, exception):
    """Print the times of the examples that ran, and refuse those over the limit."""
    slow = [name for name, seconds in _taken.items() if seconds > LIMIT]
    for name, seconds in _taken.items():
        logging.getLogger(__name__).info("%6.1f s of processor  %s", seconds, name)
    if slow and exception is None:
        raise ExtensionError(
            f"examples that take more than {LIMIT:.0f} s of processor time: {slow}"
        )


def setup(app):
    """Register the report with Sphinx."""
    app.connect("build-finished", report)
    return {"version": "1", "parallel_read_safe": True}
