"""A readable table of what became of every column."""

from collections.abc import Sequence
from html import escape

MOST_CHARACTERS = 50
"""Characters of a name or a value in a table of text, as in pandas."""


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return text on one line of at most so many characters.

    Examples
    --------
    >>> shortened("All on one line.", most=7)
    'All on…'
    """
    line = "".join(each if each.isprintable() else " " for each in text)
    return line if len(line) <= most else f"{line[: most - 1]}…"


class ColumnSummary(Sequence[dict[str, str]]):
    """One record a column, printed as an aligned table.

    Parameters
    ----------
    records : sequence of dict of str to str
        All with the same keys, the headings.
    """

    def __init__(self, records: Sequence[dict[str, str]]) -> None:
        self._records = list(records)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # two overloads
        """Return a record, or several."""
        return self._records[index]

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(self._records)

    def __repr__(self) -> str:
        """Return the table as text."""
        if not self._records:
            return "no columns"
        table = self._cells()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) for cell, width in zip(line, widths, strict=True)
            ).rstrip()
            for line in table
        )

    def _repr_html_(self) -> str:
        """Return the table for notebooks."""
        if not self._records:
            return "<p>no columns</p>"
        first, *others = self._cells()
        head = "".join(f"<th>{escape(cell)}</th>" for cell in first)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>"
            for line in others
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _cells(self) -> list[list[str]]:
        """Return the headings and the records, line by line."""
        lines = [self._records[0], *(each.values() for each in self)]
        return [
            [shortened(cell, 2 * MOST_CHARACTERS) for cell in each] for each in lines
        ]
