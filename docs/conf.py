"""Settings of the site: Sphinx makes it of these pages and of the executed notebooks in results/, see `resode site`."""

import json
from pathlib import Path

import bokeh
from docutils.nodes import SkipNode
from latex2mathml.converter import convert

BOKEH = ("bokeh.min.js", "bokeh-widgets.min.js")

project = "resode"
html_title = "resode"
extensions = ["myst_nb"]
html_math_renderer = "mathml"
# The repository is the source folder, so that a relative link works here and where the files are read themselves.
root_doc = "docs/index"
include_patterns = ["docs/*.md", "results/*/*.ipynb", "results/runs/*/*/*.ipynb"]
exclude_patterns = [".*", "build", "data", "src", "tests"]
html_theme = "furo"
html_static_path = ["static", *(str(Path(bokeh.__file__).parent / "server" / "static" / "js" / one) for one in BOKEH)]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
# The first page is in a folder of its own; this file leads to it.
html_extra_path = ["static/index.html"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
# Links to pages of stages that have not run stay text; a test follows all others.
suppress_warnings = ["myst.xref_missing"]


def prepared(app, name, source):
    """Leave pages of stages that have not run out of the contents; fold code, and leave out the cells that hold parameters."""
    if name == root_doc:
        lines = source[0].splitlines(keepends=True)
        source[0] = "".join(
            line
            for line in lines
            if not line.startswith("/") or any(Path(app.srcdir).glob(line[1:].strip() + ".ipynb"))
        )
    if not name.startswith("results/"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            tags = cell["metadata"].setdefault("tags", [])
            hidden = {"parameters", "injected-parameters"} & set(tags)
            tags.append("remove-cell" if hidden else "hide-input")
    source[0] = json.dumps(notebook)


def with_bokeh(app, name, template, context, doctree):
    """Give the pages that have a figure of Bokeh its scripts."""
    if "data-root-id" in context.get("body", ""):
        for script in BOKEH:
            app.add_js_file(script)


def inline(self, node):
    self.body.append(convert(node.astext()))
    raise SkipNode


def block(self, node):
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def setup(app):
    app.connect("source-read", prepared)
    app.connect("html-page-context", with_bokeh)
    # MathML, which browsers read without a script.
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
