"""Settings of the site: Sphinx makes it of these pages and of the executed notebooks in results/, see `resode site`."""

import json
import re
import sys
from html import escape
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import unescape

import bokeh
from docutils.nodes import SkipNode, Text, math, reference
from latex2mathml.converter import convert_to_element

PRIMES = ("&#x02032;", "&#x02033;", "&#x02034;")
BOKEH = ("bokeh.min.js", "bokeh-widgets.min.js")

# As in `resode.base.settings`: it is slow to import, and of no use here.
sys.modules.setdefault("rfc3987_syntax", None)

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
# What cells write as Markdown has tables and mathematics too.
nb_render_markdown_format = "myst"

# Links to pages of stages that have not run, and to folders, become text; a test follows all others.
suppress_warnings = ["myst.xref_missing"]

# A line of the contents that leads to pages of stages: {run}: {stage} </results/runs/*/*/*>.
STAGE = re.compile(r"(?:(.+) <)?/(results/[^<>]+?)>?")


def entries(line, root):
    """The lines that `line` of the contents stands for: of pages that exist, each with the names of its run and stage."""
    if not (stage := STAGE.fullmatch(line)):
        return [line]
    title, path = stage.groups()
    pages = [page.relative_to(root).with_suffix("") for page in sorted(root.glob(f"{path}.ipynb"))]
    return [
        f"{title.format(run=page.parts[-3], stage=page.parts[-2])} </{page}>" if title else f"/{page}" for page in pages
    ]


def prepared(app, name, source):
    """Leave pages of stages that have not run out of the contents; fold code, leave out the cells that hold parameters, name runs."""
    if name == root_doc:
        source[0] = "\n".join(entry for line in source[0].split("\n") for entry in entries(line, Path(app.srcdir)))
    if not name.startswith("results/"):
        return
    notebook = json.loads(source[0])
    if run := re.match("results/runs/(.+?)/", name):
        # Otherwise the pages of all runs would have the same heading, also in what search finds.
        first = notebook["cells"][0]
        first["source"] = re.sub(r"\A(# .+)", rf"\1: run {run[1]}", "".join(first["source"]))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            tags = cell["metadata"].setdefault("tags", [])
            hidden = {"parameters", "injected-parameters"} & set(tags)
            tag = "remove-cell" if hidden else "hide-input"
            if tag not in tags:
                tags.append(tag)
            for data, told in ((output.get("data", {}), output.get("metadata")) for output in cell["outputs"]):
                if "image/png" in data:
                    # MyST-NB would leave out what the image shows.
                    image = f"data:image/png;base64,{''.join(data['image/png'])}"
                    alt, width = escape(told["image/png"]["alt"]), told["image/png"]["width"]
                    data["text/html"] = f'<img src="{image}" alt="{alt}" width="{width}">'
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


def unbroken(app, doctree, name):
    """Give formulas within text the punctuation marks behind them: browsers would begin a line with these."""
    for formula in list(doctree.findall(math)):
        behind = formula.next_node(Text, descend=False, siblings=True)
        if behind is not None and behind.parent.index(behind) == formula.parent.index(formula) + 1:
            marks = re.match(r"[.,:;?!)]*", behind.astext())[0]
            formula["marks"] = marks
            behind.parent.replace(behind, Text(behind.astext().removeprefix(marks)))


def mathml(formula, display):
    """MathML, which browsers read without a script."""
    element = convert_to_element(formula, display=display)
    for part in element.iter("msup"):
        base, above = part
        # A prime is raised already, and would be so twice.
        if above.text in PRIMES:
            part.tag, above.tag = "mrow", "mo"
            above.attrib |= {"lspace": "0", "rspace": "0"}
    for row in list(element.iter()):
        for place, pair in reversed(list(enumerate(pairwise(row), start=1))):
            # log x, and not logx.
            named = [one for one in pair if one.tag == "mi" and re.fullmatch("[a-z]{2,}", one.text or "")]
            if named and all(one.tag in ("mi", "mn") for one in pair):
                row.insert(place, ElementTree.Element("mspace", width="0.1667em"))
    # latex2mathml writes characters as references.
    return unescape(ElementTree.tostring(element, encoding="unicode"))


def inline(self, node):
    self.body.append(f'<span class="unbroken">{mathml(node.astext(), "inline")}{escape(node.get("marks", ""))}</span>')
    raise SkipNode


def block(self, node):
    self.body.append(f'<div class="math">{mathml(node.astext(), "block")}</div>')
    raise SkipNode


def setup(app):
    app.connect("source-read", prepared)
    app.connect("html-page-context", with_bokeh)
    app.connect("doctree-resolved", unlinked)
    app.connect("doctree-resolved", unbroken)
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
