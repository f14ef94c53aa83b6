"""Every Python block of the README runs, and prints what the README says it prints."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

README = Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+\.\d+")
BLOCKS = re.findall(r"```python\n(.*?)```\n+(?:```text\n(.*?)```)?", README, re.DOTALL)


def test_the_readme_has_an_example_a_grid_search_and_a_mixed_table() -> None:
    assert len(BLOCKS) == 3
    assert "GridSearchCV" in BLOCKS[1][0]
    assert "Categorical" in BLOCKS[2][0]
    assert len(BLOCKS[0][0].splitlines()) <= 10


@pytest.mark.parametrize(("code", "printed"), BLOCKS)
def test_block_prints_what_the_readme_shows(code: str, printed: str) -> None:
    captured = StringIO()
    with redirect_stdout(captured):
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert NUMBER.sub("#", captured.getvalue()) == NUMBER.sub("#", printed)
    found = [float(number) for number in NUMBER.findall(captured.getvalue())]
    shown = [float(number) for number in NUMBER.findall(printed)]
    # Training amplifies the rounding of a processor: digits beyond the third differ.
    assert found == pytest.approx(shown, rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("job", ["main-job", "tests"])
def test_continuous_integration_can_find_the_command(job: str) -> None:
    assert re.search(rf"<!-- {job} -->\n```bash\n.*?venv.*?```", README, re.DOTALL)
