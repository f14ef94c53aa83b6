"""Names like ``n_components_`` in shapes, which docutils would take for links."""

import re

QUOTED = re.compile(r"(`+[^`]*`+)")
NAME = re.compile(r"\b(\w+)_(?=[,)\s])")


def escape_names(app, what, name, obj, options, lines):
    """Escape the last underscore of names in shapes, outside of quotes."""
    for number, line in enumerate(lines):
        if "shape (" in line:
            before, shape, after = line.partition("shape (")
            parts = QUOTED.split(after)
            parts[::2] = [NAME.sub(r"\1\\_", part) for part in parts[::2]]
            lines[number] = before + shape + "".join(parts)


def setup(app):
    """Come before numpydoc."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", escape_names, priority=400)
    return {"version": "1", "parallel_read_safe": True}
