"""Which columns have a score: those in which no value is shared by many rows."""

from dataclasses import replace

import torch
from samples import points

from sklearn_ilvae.stein.sample.atoms import where_scores_exist
from sklearn_ilvae.stein.sample.reading import read_rows


def rows_of(*columns: torch.Tensor):
    x = torch.stack(columns, 1)
    generator = torch.Generator().manual_seed(0)
    return read_rows(x, generator=generator, device=torch.device("cpu"))


SMOOTH = points(200, 1, 0)[:, 0]
LEVELS = (torch.arange(200) % 3).double()
ZEROS = torch.where(torch.arange(200) < 30, 0.0, points(200, 1, 1)[:, 0])


def test_a_value_of_more_than_a_tenth_of_the_rows_leaves_no_score():
    rounded = (10.0 * points(200, 1, 2)[:, 0]).round()
    found = where_scores_exist(rows_of(SMOOTH, LEVELS, ZEROS, rounded))
    assert found.tolist() == [1.0, 0.0, 0.0, 1.0]


def test_a_tenth_is_not_too_much():
    for shared, exists in [(20, 1.0), (21, 0.0)]:
        column = torch.where(torch.arange(200) < shared, 5.0, SMOOTH)
        assert where_scores_exist(rows_of(SMOOTH, column)).tolist() == [1.0, exists]


def test_columns_that_all_lack_a_score_count_alike():
    assert where_scores_exist(rows_of(ZEROS, ZEROS.flip(0))).tolist() == [1.0, 1.0]


def test_axes_of_a_plane_have_a_score_where_one_of_their_columns_has():
    rows = rows_of(SMOOTH, LEVELS, 2.0 * LEVELS)
    axes = torch.tensor([[1.0, 0.0], [0.0, 0.6], [0.0, 0.8]]).double()
    assert where_scores_exist(replace(rows, axes=axes)).tolist() == [1.0, 0.0]


def test_rows_that_repeat_count_once():
    """A weight is as good as repeated rows, and says nothing about a column."""
    often = SMOOTH[torch.arange(400) % 200 * (torch.arange(400) % 200 > 100)]
    assert where_scores_exist(rows_of(often, 2.0 * often)).tolist() == [1.0, 1.0]
