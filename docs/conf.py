"""How Sphinx makes pages of this folder: ``scripts/docs``.

`docs/libraries.rst` says why there is no theme and no extension beyond these.
"""

import re
import sys
from pathlib import Path

# The installed package is the one of this checkout (scripts/install); the line is for builders
# that install nothing.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpcore

project = "httpcore"
copyright = "the httpcore authors, BSD-3-Clause"
release = version = httpcore.__version__

extensions = ["sphinx.ext.autodoc", "sphinx_copybutton"]
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
    name: name for name in ("HeaderTypes", "Content", "Resolver", "Trace", "Verify", "Cert")
}

html_theme = "furo"
html_title = f"httpcore {release}"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
pygments_style = "friendly"
pygments_dark_style = "github-dark"

# The button copies what is to be typed: no prompt, and not what is printed.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True


# --- docstrings ---

_SECTION = re.compile(r"(Parameters|Args|Attributes|Keys|Raises|Returns):$")
_ENTRY = re.compile(r"    (\S.*?): (.+)$")
_NAMES = re.compile(r"[*\w.]+(, [*\w.]+)*$")


def _format(app, what, name, obj, options, lines):
    """Make a list of definitions of each section: its entries are ``names: text``, and lines that
    are indented more go on with it."""
    made = []
    section = None
    for line in lines:
        if match := _SECTION.match(line):
            section = match[1]
            made += ["", f"**{'Parameters' if section == 'Args' else section}**", ""]
        elif section and line and not line.startswith(" "):
            section = None
            made.append(line)
        elif section and section != "Returns" and (match := _ENTRY.match(line)):
            names = match[1]
            if _NAMES.match(names):
                names = ", ".join(f"``{each}``" for each in names.split(", "))
            made += [names, f"    {match[2]}"]
        else:
            made.append(line[4:] if section else line)
    lines[:] = made


def _name_types(app, what, name, obj, options, signature, returns):
    """Some versions of Sphinx show the make of an alias in place of its name."""
    made = re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", signature or "")
    return made or signature, returns


def setup(app):
    app.connect("autodoc-process-docstring", _format)
    app.connect("autodoc-process-signature", _name_types)
