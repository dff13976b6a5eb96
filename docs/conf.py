"""Settings of the site: Sphinx makes it of these pages and of the executed notebooks in results/, see `resode site`."""

import json
import re
from pathlib import Path

import bokeh
from docutils.nodes import SkipNode, reference
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
html_show_copyright = False
html_show_sourcelink = False
# The first page is in a folder of its own; this file leads to it.
html_extra_path = ["extra/index.html"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"

# Links to pages of stages that have not run, and to folders, become text; a test follows all others.
suppress_warnings = ["myst.xref_missing"]

# A line of the contents that leads to the page of a stage: {run}: evaluation </results/runs/*/evaluation/evaluation>.
STAGE = re.compile(r"(?:(.+) <)?/(results/[^<>]+?)>?")


def entries(line, root):
    """The lines that `line` of the contents stands for: of pages that exist, each with its run's name."""
    if not (stage := STAGE.fullmatch(line)):
        return [line]
    title, path = stage.groups()
    pages = [page.relative_to(root).with_suffix("") for page in sorted(root.glob(f"{path}.ipynb"))]
    return [f"{title.format(run=page.parts[-3])} </{page}>" if title else f"/{page}" for page in pages]


def prepared(app, name, source):
    """Leave pages of stages that have not run out of the contents; fold code, and leave out the cells that hold parameters."""
    if name == root_doc:
        source[0] = "\n".join(entry for line in source[0].split("\n") for entry in entries(line, Path(app.srcdir)))
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


def unlinked(app, doctree, name):
    """Leave the text alone of a link to a folder, or to the page of a stage that has not run."""
    for link in list(doctree.findall(reference)):
        # An anchor never holds a path: this is what MyST makes of a link that leads to no page.
        if "/" in link.get("refid", ""):
            link.replace_self(link.children)


def inline(self, node):
    self.body.append(convert(node.astext()))
    raise SkipNode


def block(self, node):
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def setup(app):
    app.connect("source-read", prepared)
    app.connect("html-page-context", with_bokeh)
    app.connect("doctree-resolved", unlinked)
    # MathML, which browsers read without a script.
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
