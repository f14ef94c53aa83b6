"""Fail the build when a page of it links to what it does not contain."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.errors import ExtensionError


class Page(HTMLParser):
    """The anchors of a page, and its links and images."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links = {"", "top"}, set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what a tag offers and what it asks for."""
        given = dict(attrs)
        self.anchors.update(filter(None, [given.get("id"), given.get("name")]))
        target = given.get("href") or given.get("src")
        # What a widget of the theme fills in later is not a link yet.
        if target and tag in {"a", "img", "script", "link"}:
            self.links.add(target)


def broken_links(root):
    """Return (page, link) for every link within the site that leads nowhere."""
    # Templates of the theme are no pages.
    files = [
        path for path in root.rglob("*.html") if root / "_static" not in path.parents
    ]
    pages = {path: Page(path.read_text()) for path in sorted(files)}
    broken = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path
            if parts.path:
                target = (path.parent / unquote(parts.path)).resolve()
            fragment = "" if parts.fragment.startswith(":~:") else parts.fragment
            known = pages[target].anchors if target in pages else {"", fragment}
            if not target.exists() or unquote(fragment) not in known:
                broken.append((path.relative_to(root), link))
    return broken


def check(app, exception):
    """Look at the finished site."""
    if exception is None and app.builder.name == "html":
        broken = broken_links(Path(app.outdir).resolve())
        if broken:
            lines = "\n".join(f"{page}: {link}" for page, link in broken)
            raise ExtensionError(f"links within the site that lead nowhere:\n{lines}")


def setup(app):
    """Register the check with Sphinx."""
    app.connect("build-finished", check)
    return {"version": "1", "parallel_read_safe": True}
