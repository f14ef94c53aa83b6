"""From tables to tensors and back: kinds, levels, scales and names of columns."""

from .arrays import float_dtypes, from_tensor, to_numpy, to_tensor
from .building import build_frame, restored_row
from .frames import DATES, as_frame, is_missing, library_of, names_in
from .keeping import keep_observed
from .kinds import asked_kinds, column_name, fitted_names, numbered_names
from .levels import LevelGroups
from .powers import PowerScale
from .reading import decoded_levels, read_known_table, read_new_table
from .scaling import BY_TAILS, ColumnScaling, find_scaling
from .schema import TableSchema, explain_other_order
from .seen import as_fine, in_range, seen_in
from .support import check_binary, check_counts, check_support
from .validation import (
    checked_numbers,
    checked_weights,
    rows_of_weight,
    validated_table,
)

__all__ = [
    "BY_TAILS",
    "DATES",
    "ColumnScaling",
    "LevelGroups",
    "PowerScale",
    "TableSchema",
    "as_fine",
    "as_frame",
    "asked_kinds",
    "build_frame",
    "check_binary",
    "check_counts",
    "check_support",
    "checked_numbers",
    "checked_weights",
    "column_name",
    "decoded_levels",
    "explain_other_order",
    "find_scaling",
    "fitted_names",
    "float_dtypes",
    "from_tensor",
    "in_range",
    "is_missing",
    "keep_observed",
    "library_of",
    "names_in",
    "numbered_names",
    "read_known_table",
    "read_new_table",
    "restored_row",
    "rows_of_weight",
    "seen_in",
    "to_numpy",
    "to_tensor",
    "validated_table",
]
