"""A directive that runs a block of Python and shows what it prints and draws.

All blocks of a page share their names, as in a session. A block that raises fails the
build, so no page shows code that does not run or output that it does not give.
"""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import ClassVar

import matplotlib
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

matplotlib.use("agg")
from matplotlib import pyplot as plt

FOLDER = "_generated"


class Executed(SphinxDirective):
    """``{executed}``: the code, its output and its figures.

    The option ``alt`` describes the figures for those who do not see them, and
    ``hide-code`` leaves the code out.
    """

    has_content = True
    option_spec: ClassVar = {"alt": directives.unchanged, "hide-code": directives.flag}

    def run(self):
        """Run the block and return the nodes that show it."""
        code = "\n".join(self.content)
        names = self.env.temp_data.setdefault("executed", {"__name__": "__main__"})
        plt.close("all")
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(code, f"{self.env.docname}:{self.lineno}", "exec"), names)
        shown = []
        if "hide-code" not in self.options:
            shown.append(nodes.literal_block(code, code, language="python"))
        if printed.getvalue():
            output = printed.getvalue()
            block = nodes.literal_block(output, output, language="text")
            block["classes"].append("output")
            shown.append(block)
        return shown + [self._image(number) for number in plt.get_fignums()]

    def _image(self, number):
        page = self.env.docname.replace("/", "-")
        path = Path(FOLDER) / f"{page}-{self.lineno}-{number}.png"
        target = Path(self.env.srcdir) / path
        target.parent.mkdir(exist_ok=True)
        figure = plt.figure(number)
        figure.savefig(target, dpi=100, bbox_inches="tight")
        plt.close(figure)
        return nodes.image(uri=f"/{path.as_posix()}", alt=self.options.get("alt", ""))


def setup(app):
    """Register the directive with Sphinx."""
    app.add_directive("executed", Executed)
    return {"version": "1", "parallel_read_safe": False}
