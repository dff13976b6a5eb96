"""Settings of the site: Sphinx makes it of these pages and of the executed notebooks in results/, see `resode site`."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from html import escape
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import unescape

import bokeh
from docutils.nodes import SkipNode, Text, math, reference
from latex2mathml.converter import convert_to_element

# Of the code and the results; "" outside of git.
COMMIT = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
# Of the clone that the site is made in; "" where that came from no server with pages.
ORIGIN = subprocess.run(["git", "remote", "get-url", "origin"], capture_output=True, text=True).stdout.strip()
PRIMES = ("&#x02032;", "&#x02033;", "&#x02034;")
BOKEH = ("bokeh.min.js", "bokeh-widgets.min.js")

# As in `resode.base.environment`: it is slow to import, and of no use here.
sys.modules.setdefault("rfc3987_syntax", None)

project = "resode"
html_title = "resode"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_typehints = "none"
# Attributes as a list; what is before a colon in "Returns" is no type.
napoleon_use_ivar = True
napoleon_use_rtype = False
default_role = "code"
html_math_renderer = "mathml"
# The repository is the source folder, so that a relative link works here and where the files are read themselves.
root_doc = "docs/index"
# A run's page is that of its evaluation; the other two notebooks are sections of it. The page `choosing` has what a sweep found.
include_patterns = ["docs/*.md", "results/*/*.ipynb", "results/runs/*/evaluation/*.ipynb"]
exclude_patterns = [".*", "build", "data", "src", "tests", "results/sweep"]
html_theme = "furo"
html_static_path = ["static", *(str(Path(bokeh.__file__).parent / "server" / "static" / "js" / one) for one in BOKEH)]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
# The first page is in a folder of its own; this file leads to it. The footer links to the others.
html_extra_path = ["extra/index.html", "../LICENSE", "../CITATION.cff"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
# What cells write as Markdown has tables and mathematics too.
nb_render_markdown_format = "myst"

# Links to pages of stages that have not run, and to folders, become text; a test follows all others.
suppress_warnings = ["myst.xref_missing"]

# A line of the contents that leads to pages of stages: Run {run} </results/runs/*/evaluation/*>.
STAGE = re.compile(r"(?:(.+) <)?/(results/[^<>]+?)>?")
# A run's page, and the notebooks that are its sections.
RUN = re.compile(r"(results/runs/([^/]+))/evaluation/evaluation")
SECTIONS = ("evaluation", "stability", "training")
HEADINGS = {"stability": "#stability-of-the-trained-network", "training": "#training"}


def entries(line, root):
    """The lines that `line` of the contents stands for: of pages that exist, each with the names of its run and stage."""
    if not (stage := STAGE.fullmatch(line)):
        return [line]
    title, path = stage.groups()
    pages = [page.relative_to(root).with_suffix("") for page in sorted(root.glob(f"{path}.ipynb"))]
    pages.sort(key=lambda page: -updates(root / page))
    return [f"{title.format(run=page.parts[-3])} </{page}>" if title else f"/{page}" for page in pages]


def updates(page):
    """The updates of the run whose page it is, which puts the longest first; 0 for other pages."""
    told = page.parents[1] / "training" / "provenance.json"
    return json.loads(told.read_text(encoding="utf-8")).get("updates", 0) if told.is_file() else 0


def demo(root):
    """What the first page says instead of the claim where results/ are a demo's; None elsewhere."""
    path = root / "results" / "report" / "report.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if told.get("kind") != "demo":
        return None
    from resode.report import verdicts

    return (
        "# A demo of layers as steps of an ODE\n\n**This is a demo, and no reproduction.** The whole pipeline ran, from images to these pages, with a"
        f" small network on *{escape(told['data'])}*.\n\n{verdicts.headline(told)}\n\nThat says nothing about the claim, which is about CIFAR-10:"
        " [the report](../results/report/report.ipynb) has both side by side, and `make repro` runs the real thing.\n"
    )


def claim(root):
    """The claim and what became of it, from README.md, with links as they lead from docs/."""
    text = (root / "README.md").read_text(encoding="utf-8")
    text = text.partition("<!-- claim: begin -->")[2].partition("<!-- claim: end -->")[0]
    return re.sub(r"\]\(results/", "](../results/", re.sub(r"\]\(docs/", "](", text))


def whole(root, match):
    """The notebook of a run's page: the run's notebooks, one below the other, as sections."""
    from resode.analysis import reference

    told = json.loads((root / match[1] / "training" / "provenance.json").read_text(encoding="utf-8"))
    # Pages that were made before the published run's shifts were known do not say so themselves.
    shifts = reference.shifts(told, reference.read_published())
    title = f"# Run {match[2]}, {shifts}" if shifts else f"# Run {match[2]}"
    cells = [{"cell_type": "markdown", "metadata": {}, "source": title}]
    for name in SECTIONS:
        page = root / match[1] / name / f"{name}.ipynb"
        if page.is_file():
            made = json.loads(page.read_text(encoding="utf-8"))
            for cell in made["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = re.sub(r"(?m)^(?=#)", "#", "".join(cell["source"]))
            if name == "training":
                # A row an epoch.
                made["cells"][-1]["metadata"].setdefault("tags", []).append("hide-output")
            cells += made["cells"]
    # Each notebook numbers its own.
    return made | {"cells": [cell | {"id": f"cell-{number}"} for number, cell in enumerate(cells)]}


def prepared(app, name, source):
    """Leave pages of stages that have not run out of the contents; fold code, leave out the cells that hold parameters, name runs."""
    root = Path(app.srcdir)
    if name == root_doc:
        before, _, after = source[0].partition("<!-- claim -->")
        source[0] = (demo(root) or before + claim(root)) + after
        source[0] = "\n".join(entry for line in source[0].split("\n") for entry in entries(line, root))
    # A run's other notebooks are sections of its page.
    source[0] = re.sub(
        r"(results/runs/[^/)]+)/(stability|training)/\w+\.ipynb",
        lambda link: f"{link[1]}/evaluation/evaluation.ipynb{HEADINGS[link[2]]}",
        source[0],
    )
    if not name.startswith("results/"):
        return
    run = RUN.fullmatch(name)
    notebook = whole(root, run) if run else json.loads(source[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            tags = cell["metadata"].setdefault("tags", [])
            hidden = {"parameters", "injected-parameters"} & set(tags)
            # The story is read without code; the footer leads to its notebook.
            tag = "remove-cell" if hidden else "remove-input" if "/story/" in name else "hide-input"
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


def notebooks(root, name):
    """The executed notebooks that the page `name` was made of."""
    run = RUN.fullmatch(name)
    found = [f"{run[1]}/{one}/{one}" for one in SECTIONS] if run else [name] * name.startswith("results/")
    return [f"{one}.ipynb" for one in found if (root / f"{one}.ipynb").is_file()]


def with_footer(app, name, template, context, doctree):
    """Say below each page what it was made of: commit, notebooks, licence, citation."""
    if "body" not in context:
        return
    up = context["pathto"]("", resource=True)
    links = [f'<a href="{up}{one}" download>{Path(one).name}</a>' for one in notebooks(Path(app.srcdir), name)]
    words = [f"Commit {COMMIT}"] if COMMIT else []
    if ORIGIN.startswith(("https://", "http://")) and "@" not in ORIGIN:
        words.insert(0, f'<a href="{escape(ORIGIN.removesuffix(".git"))}">repository</a>')
    words += [f"this page's notebook: {', '.join(links)}"] if links else []
    words += [f'<a href="{up}CITATION.cff">cite</a>', f'<a href="{up}LICENSE">MIT licence</a>']
    context["body"] += f'<p class="made-of">{" · ".join(words)}</p>'


def with_notebooks(app, exception):
    """Put the notebooks to which the footers link beside the pages."""
    for name in app.env.found_docs if exception is None else ():
        for one in notebooks(Path(app.srcdir), name):
            target = Path(app.outdir) / one
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(app.srcdir) / one, target)


def signature(app, what, name, found, options, given, returned):
    """The arguments of a layer: Keras hides them behind its own."""
    # Slow to import; loaded with the layers.
    import keras

    from resode.nn.blocks import INITIALIZERS

    if what == "class" and issubclass(found, keras.layers.Layer):
        arguments = list(inspect.signature(found.__init__).parameters.values())[1:]
        given = str(inspect.Signature([one.replace(annotation=inspect.Parameter.empty) for one in arguments]))
        for key, value in INITIALIZERS.items():
            given = given.replace(f"={value!r}", f"=INITIALIZERS[{key!r}]")
    return given, returned


def displayed(app, what, name, found, options, lines):
    """Formulas and tables of a docstring, which are indented: line by line, as they stand there."""
    for place in range(len(lines) - 1, 1, -1):
        before, above, line = lines[place - 2 : place + 1]
        # Not what belongs to a section such as Args, which is indented too.
        if line.startswith(" ") and not above and before and not before.startswith(" "):
            lines[place:place] = ["::", ""]


def skipped(app, what, name, found, skip, options):
    """Leave out the fields of named tuples, of which Python says their number alone."""
    return True if str(getattr(found, "__doc__", "")).startswith("Alias for field number") else None


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
    app.connect("html-page-context", with_footer)
    app.connect("build-finished", with_notebooks)
    app.connect("autodoc-process-signature", signature)
    # Before Napoleon, which makes sections of what is indented.
    app.connect("autodoc-process-docstring", displayed, priority=400)
    app.connect("autodoc-skip-member", skipped)
    app.connect("doctree-resolved", unlinked)
    app.connect("doctree-resolved", unbroken)
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
