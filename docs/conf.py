"""How Sphinx makes the site: ``make docs``.  Pages are Markdown; warnings are errors."""

import os
import sys
from pathlib import Path

from tidegate import __version__

os.environ.setdefault("KERAS_BACKEND", "torch")  # read when Keras is imported
sys.path.insert(0, str(Path(__file__).parent / "_site"))

project = "tidegate"
release = version = __version__
author = "the authors of tidegate"
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",  # the docstrings' parts: Parameters, ----------
    "docstrings",
    "mathml",
    "executed",
    "command_pages",
]
exclude_patterns = ["_build", "_outputs", "_site", "_templates"]

# Markdown as GitHub shows it: ```math blocks, and links to headings
myst_enable_extensions = ["dollarmath", "deflist", "html_image"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
myst_dmath_allow_space = False
myst_dmath_allow_digits = False

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings name types and shapes
autodoc_default_options = {
    "members": True,
    # what users call: not torch's and Keras' own, and not how options are checked
    "inherited-members": "Module,TrainingOptions,Layer,GRU,LSTM,SimpleRNN,object",
}
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = "tidegate"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "start", "cells", "glossary")}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 10,
    "navbar_persistent": ["search-button"],
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_context = {"default_mode": "auto"}
copyright = "the authors of tidegate, Apache-2.0"
