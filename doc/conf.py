"""The documentation: `python -m sphinx -W --keep-going -b html doc doc/_build/html`."""

import os
import sys
import warnings
from pathlib import Path

# Networks and matrices this small run slower on several threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import torch

import sklearn_ilvae
from sklearn_ilvae import _html

torch.set_num_threads(1)
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")

project = "sklearn_ilvae"
copyright = "the sklearn_ilvae developers"
version = release = sklearn_ilvae.__version__

extensions = [
    "executed",
    "internal_links",
    "lessons",
    "shapes",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/*.ipynb", "auto_examples/README*"]
suppress_warnings = ["config.cache"]
default_role = "py:obj"
highlight_language = "none"

templates_path = ["_templates"]
autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Diagrams of estimators in the gallery link to their pages within the site.
_html.SITE = ".."

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_",
    "within_subsection_order": "lessons.order_of_lessons",
    "reset_modules": ("matplotlib", "seaborn", "lessons.clock"),
    "reset_modules_order": "both",
    "abort_on_example_error": True,
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("sklearn_ilvae",),
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "plot_gallery": "True",
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "min_reported_time": 1,
    "capture_repr": ("_repr_html_",),
    "download_all_examples": False,
    "show_signature": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_ilvae"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 5,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "light"}
html_sidebars = {"start": [], "faq": [], "comparison": [], "changes": []}
