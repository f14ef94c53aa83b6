"""Words for people: counts with their nouns and verbs."""

from typing import Any


def counted(number: Any, noun: str) -> str:
    """Return a number and a noun, which is in the singular for one.

    Parameters
    ----------
    number : int or str
        The number, or how it is written.
    noun : str
        In the singular; its plural takes an s.

    Returns
    -------
    str

    Examples
    --------
    >>> counted(1, "row"), counted(0, "row"), counted("2,000", "row")
    ('1 row', '0 rows', '2,000 rows')
    """
    return f"{number} {noun}" if str(number) == "1" else f"{number} {noun}s"


def share_of(number: int, total: int, noun: str, one: str, several: str) -> str:
    """Return how many of all do something, with the verb in the right number.

    Parameters
    ----------
    number, total : int
        How many do, and how many there are.
    noun : str
        As in `counted`.
    one, several : str
        The verb for one, and for none or several.

    Returns
    -------
    str

    Examples
    --------
    >>> share_of(1, 3, "row", "has", "have"), share_of(0, 1, "row", "has", "have")
    ('1 of 3 rows has', '0 of 1 row has')
    """
    verb = one if 1 in (number, total) else several
    return f"{number} of {counted(total, noun)} {verb}"
