"""The site and every link that a reader can follow: in README.md, docs/, notebooks and executed pages, and on the site."""

import html.parser
import json
import re
import runpy
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from helpers import PUBLISHED, make_run, write_run
from resode.base import paths
from resode.base.errors import InputError
from resode.report import site, verdicts

PAGES = [paths.ROOT / "README.md", paths.ROOT / "CONTRIBUTING.md", *sorted((paths.ROOT / "docs").glob("*.md"))]
NOTEBOOKS = [*sorted(paths.NOTEBOOKS.glob("*.ipynb")), *sorted(paths.RESULTS.glob("*/*.ipynb"))]
NOTEBOOKS += sorted(paths.RESULTS.glob("runs/*/*/*.ipynb"))


def words(page: Path) -> str:
    """What a reader sees of `page` as Markdown: the page, or a notebook's own cells and those that it wrote."""
    if page.suffix != ".ipynb":
        return page.read_text(encoding="utf-8")
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    written = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    own = [cell["source"] for cell in cells if cell["cell_type"] == "markdown"]
    return "\n".join("".join(text) for text in own + [data.get("text/markdown", "") for data in written])


@pytest.mark.parametrize("page", PAGES + NOTEBOOKS, ids=lambda page: str(page.relative_to(paths.ROOT)))
def test_relative_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^()\s]+)\)", words(page))
    relative = [urlsplit(link).path for link in links if not urlsplit(link).scheme]
    targets = [(page.parent / unquote(path)).resolve() for path in relative if path]
    assert [str(target) for target in targets if not target.exists()] == []


@pytest.fixture(scope="module")
def conf():
    """docs/conf.py."""
    return runpy.run_path(str(paths.ROOT / "docs" / "conf.py"))


def test_first_page_of_a_demo_says_that_it_is_one(conf, tmp_path):
    assert conf["demo"](tmp_path) is None
    for data, shown in (("digits", True), ("cifar10", False)):
        verdicts.write(tmp_path / "results" / "report", verdicts.build(make_run(0.95, data=data), PUBLISHED))
        told = conf["demo"](tmp_path)
        assert bool(told) is shown
        assert not shown or ("**This is a demo, and no reproduction.**" in told and "**95.00 %** test accuracy" in told)


def test_a_run_has_one_page_and_the_longest_comes_first(conf):
    runs = conf["entries"]("Run {run} </results/runs/*/evaluation/*>", paths.ROOT)
    assert [line.partition(" <")[0] for line in runs] == [
        "Run quarter",
        "Run eighth",
        "Run cpu-quarter",
        "Run sixteenth",
        "Run fast",
        "Run fast-1",
    ]
    page = conf["whole"](paths.ROOT, conf["RUN"].fullmatch("results/runs/quarter/evaluation/evaluation"))
    heads = re.findall(
        "(?m)^##? .*", "\n".join("".join(cell["source"]) for cell in page["cells"] if cell["cell_type"] == "markdown")
    )
    assert heads == [
        "# Run quarter, bilinear shifts",
        "## Evaluation",
        "## Stability of the trained network",
        "## Training",
    ]


def test_formulas_of_docstrings_keep_their_lines(conf):
    lines = [
        "Order 1.",
        "",
        "    y = 1",
        "    z = 2",
        "",
        "Args:",
        "    h: size.",
        "",
        "        more",
        "",
        "    x: state.",
    ]
    conf["displayed"](None, "function", "step", None, None, lines)
    assert lines == [
        "Order 1.",
        "",
        "::",
        "",
        "    y = 1",
        "    z = 2",
        *["", "Args:", "    h: size.", "", "        more"],
        "",
        "    x: state.",
    ]


@pytest.mark.parametrize("folder", ["", "runs/eighth"])
@pytest.mark.parametrize("name", ["evaluation/metrics.json", "stability/stability.json"])
def test_pages_of_different_trainings_make_no_site(folder, name, tmp_path):
    write_run(make_run(), tmp_path / folder)
    path = tmp_path / folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": "another"}))
    with pytest.raises(InputError, match=f"{name} is not of the training in"):
        site.build(tmp_path / "site", tmp_path)
    assert not (tmp_path / "site").exists()


class Links(html.parser.HTMLParser):
    """Addresses, anchors and images of a page of the site."""

    def __init__(self, page: Path):
        super().__init__()
        self.found, self.anchors, self.undescribed = [], set(), []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.found += [
            given[name] for name in ("href", "src") if given.get(name) and not given[name].startswith("data:")
        ]
        self.anchors |= {given["id"]} if given.get("id") else set()
        self.undescribed += [given.get("src", "")[:80]] if tag == "img" and not given.get("alt") else []


@pytest.mark.slow
def test_site_opens_without_a_network_and_no_link_is_dead(tmp_path):
    folder = site.build(tmp_path / "site").parent
    pages = {page: Links(page) for page in folder.rglob("*.html")}
    assert {"index.html", "docs/index.html", "docs/runs.html", "results/integrators/integrators.html"} <= {
        str(page.relative_to(folder)) for page in pages
    }
    dead, remote = [], []
    for page, links in pages.items():
        for link in links.found:
            address = urlsplit(link)
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            if not address.scheme and not target.exists():
                dead.append((str(page), link))
            elif not address.scheme and address.fragment and target in pages:
                dead += [(str(page), link)] if unquote(address.fragment) not in pages[target].anchors else []
        text = page.read_text(encoding="utf-8")
        remote += re.findall(
            r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?https?:[^>]*>|<link[^>]*href=[\"']https?:[^>]*stylesheet", text
        )
    assert dead == [] and remote == []
    assert [image for links in pages.values() for image in links.undescribed] == []
    headings = [re.search("<h1>(.*?)<", page.read_text(encoding="utf-8")) for page in pages]
    headings = sorted(heading[1] for heading in headings if heading)
    assert "Run sixteenth, bilinear shifts" in headings and headings == sorted(set(headings))
    # Tables and formulas that are shown as they are written.
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert not re.search(r"\| :?--|\$\$|\|\||<mi>&</mi>", re.sub("<(script|pre).*?</\\1>", "", text, flags=re.DOTALL))
