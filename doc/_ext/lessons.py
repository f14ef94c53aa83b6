"""The order of the gallery: what a newcomer needs first."""

from pathlib import Path

LESSONS = [
    "first_fit",
    "is_it_collapsing",
    "grid_search",
    "compare_decoders",
    "new_rows",
    "outliers",
    "score_estimation",
    "hamiltonian",
    "implicit_sampler",
]


def order_of_lessons(file_name):
    """Sort by the list, and what it does not name behind, by name."""
    name = Path(file_name).stem.removeprefix("plot_")
    place = LESSONS.index(name) if name in LESSONS else len(LESSONS)
    return place, name
