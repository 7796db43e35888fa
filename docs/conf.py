"""How Sphinx makes pages of this folder: ``scripts/docs``.

`docs/libraries.rst` says why there is no theme and no extension beyond what Sphinx brings.
"""

import sys
from pathlib import Path

# The installed package is the one of this checkout (scripts/install); the line is for builders
# that install nothing.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpcore

project = "httpcore"
copyright = "the httpcore authors, BSD-3-Clause"
release = version = httpcore.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

# A single backtick is a name of ours in docstrings, and leads to it where it is documented.
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries = False
python_maximum_signature_line_length = 90  # those of pools are long: an argument a line
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# What a signature says in place of the long type: `docs/api.rst` explains them.
autodoc_type_aliases = {
    name: name
    for name in ("HeaderTypes", "Content", "Extensions", "Resolver", "Trace", "Verify", "Cert")
}
# "Parameters:", "Attributes:", "Raises:" are sections; the first as a table of fields.
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Keys", "params_style")]

html_theme = "alabaster"
html_title = f"httpcore {release}"
html_show_sphinx = False
html_theme_options = {
    "description": "A pooled HTTP transport, and the adapter that puts it under requests",
    "fixed_sidebar": True,
    # Code of 100 columns fits.
    "page_width": "1220px",
    "body_max_width": "auto",
    "sidebar_width": "240px",
    "code_font_size": "0.82em",
    "show_powered_by": False,
}
