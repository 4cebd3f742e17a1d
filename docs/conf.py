"""Sphinx: one static site that opens from the file system, without a server and without network."""

import importlib.metadata
import importlib.util
import inspect
from collections import namedtuple
from pathlib import Path
from typing import Any

project = "Latent faces"
author = "The latent-faces authors"
version = release = importlib.metadata.version("aelib")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_design",
]
templates_path = ["_templates"]
exclude_patterns = ["_*"]

# The notebooks come executed. What is dead without a kernel would ask a CDN for scripts.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_mime_priority_overrides = [
    ("html", "application/vnd.jupyter.widget-view+json", None),
    ("html", "application/javascript", None),
]
myst_enable_extensions = ["amsmath", "attrs_block", "attrs_inline", "colon_fence", "dollarmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 3

autosummary_generate = True
autodoc_mock_imports = ["aelib._backend"]  # a reference needs no Keras, and TensorFlow takes seconds to start
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstring's Parameters say it, with shapes and units
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# The plain tex-svg.js and MathJax 4 load pieces from elsewhere; this one file is whole. As an extension, the package
# that carries it would copy 24 MB.
_carrier = importlib.util.find_spec("sphinx-mathjax-offline")
if _carrier is None or _carrier.origin is None:
    raise ImportError("MathJax is missing: make venv installs it with the extra `site`.")
_mathjax = Path(_carrier.origin).parent / "static" / "mathjax" / "tex-svg-full.js"
mathjax_path = _mathjax.name
mathjax3_config = {"options": {"enableMenu": False}}  # the menu would load more

html_theme = "furo"
html_title = "Latent faces"
html_static_path = ["_static", str(_mathjax)]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_domain_indices = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072b2", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}


_NAMED_FIELD = type(namedtuple("OneField", "x").x)  # the docstring's Parameters describe them


def _skip_foreign(_app: Any, _what: str, _name: str, member: Any, _skip: bool, _options: Any) -> bool | None:
    """Leave out what others put into our classes: scikit-learn's `set_fit_request`, "Alias for field number 0"."""
    ours = str(getattr(member, "__module__", "aelib")).startswith("aelib")
    field = isinstance(member, _NAMED_FIELD)
    return True if field or ((inspect.isroutine(member) or inspect.isclass(member)) and not ours) else None


def _skip_object(_app: Any, _domain: str, _type: str, description: Any) -> None:
    """Do not say that a class is an object."""
    for said in [node for node in description.children if node.astext() == "Bases: object"]:
        description.remove(said)


def setup(app: Any) -> None:
    """Connect to Sphinx."""
    app.connect("object-description-transform", _skip_object)
    app.connect("autodoc-skip-member", _skip_foreign)
