"""A readable table of what became of every column."""

from collections.abc import Sequence
from html import escape


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
        table = [list(self._records[0]), *(list(each.values()) for each in self)]
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
        head = "".join(f"<th>{escape(key)}</th>" for key in self._records[0])
        body = "".join(
            "<tr>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in record.values())
            + "</tr>"
            for record in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
