"""The repository itself: the pipeline's definition, and the whole of it in a clone."""

import ast
import gc
import graphlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import nbformat
import pytest

from resode import cli
from resode.base import paths
from resode.base.errors import InputError
from resode.config import parameters, schema, yaml
from resode.pipeline import inputs, notebook
from resode.report import demo

STAGES = yaml.read(paths.DVC_YAML)["stages"]
NOTEBOOKS = sorted(path.stem for path in paths.NOTEBOOKS.glob("*.ipynb"))


def test_stage_is_notebook_is_command_is_results_folder():
    data_sets = set(get_args(schema.DataParams.model_fields["name"].annotation))
    assert sorted(cli.STAGES) == NOTEBOOKS == sorted(set(STAGES) - data_sets)
    for stage in cli.STAGES:
        assert list(STAGES[stage]["outs"][0]) == [f"results/{stage}"]


def test_dependencies_exist():
    for stage in cli.STAGES:
        for dependency in STAGES[stage]["deps"]:
            if not dependency.startswith(("data/", "results/")):
                assert (paths.ROOT / dependency).exists(), f"{stage}: {dependency}"


def parsed(source: str) -> ast.AST:
    """The syntax tree of `source`.

    Without garbage collection: Python 3.11 cannot build a tree while an object that is collected has a traceback printed, which
    parses too.
    """
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        gc.enable()


def imports(source: str) -> set[str]:
    """The modules and packages of ours that `source` imports, as "package/module"."""
    found = set()
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("resode.")}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name their package"
            if node.module.split(".")[0] == "resode":
                deep = node.module.count(".") > 1
                found |= {node.module} if deep else {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("resode.").replace(".", "/") for name in found}


@pytest.mark.parametrize("stage", cli.STAGES)
def test_stages_depend_on_what_their_notebooks_import(stage):
    source = nbformat.read(paths.NOTEBOOKS / f"{stage}.ipynb", as_version=4)
    modules = imports("\n".join(cell.source for cell in source.cells if cell.cell_type == "code"))
    # `base` and `config` decide no result: parameters are checked there, and the stage depends on their values.
    modules = {module for module in modules if not module.startswith(("base/", "config/"))}
    assert modules
    for module in modules:
        possible = {f"src/resode/{module}.py", f"src/resode/{module.split('/')[0]}"}
        assert possible & set(STAGES[stage]["deps"]), module


# From the lowest up. A package that a stage depends on as a folder imports only what lies below it, so that the stage has all
# of it among its dependencies.
FLOORS = ("ode", "base", "config", "data", "nn", "training", "analysis", "inference", "figures", "pipeline", "experiments",
          "benchmarks", "report", "cli")  # fmt: skip
SOURCE = paths.ROOT / "src" / "resode"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem == "cli")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down_only(path):
    floor = path.relative_to(SOURCE).with_suffix("").parts[0]
    above = FLOORS[FLOORS.index(floor) + 1 :]
    found = imports(path.read_text(encoding="utf-8"))
    assert not {name for name in found if name.split("/")[0] in above}
    assert {name.split("/")[0] for name in found} <= set(FLOORS)


@pytest.mark.parametrize(
    "package", sorted({path.parent for path in MODULES if path.parent != SOURCE}), ids=lambda path: path.name
)
def test_modules_of_a_package_do_not_import_in_a_circle(package):
    graph = {}
    for path in package.glob("*.py"):
        imported = map(Path, imports(path.read_text(encoding="utf-8")))
        graph[path.stem] = [one.name for one in imported if one.parent.name == package.name]
    # Raises CycleError where there is one.
    assert list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("package", ["ode", "inference/low_memory.py"])
def test_equations_and_prediction_in_little_memory_need_no_keras(package):
    path = SOURCE / package
    names = [path] if path.is_file() else sorted(path.glob("*.py"))
    modules = ["resode." + str(name.relative_to(SOURCE).with_suffix("")).replace("/", ".") for name in names]
    large = {"keras", "tensorflow", "jax", "ruamel"}
    program = f"import sys, {', '.join(modules)}; assert not {large} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": paths.python_path()}, check=True)


def test_dvc_has_metrics_and_plots_in_a_fresh_clone_and_plots_need_no_network():
    declared = yaml.read(paths.DVC_YAML)
    for kind in ("metrics", "plots"):
        assert any((paths.ROOT / name).is_file() for name in declared[kind])
    # The tables of DVC's plots are drawn by scripts from the network; images are not.
    assert {Path(name).suffix for name in declared["plots"]} == {".png"}
    assert "html_template = plots.html" in (paths.ROOT / ".dvc" / "config").read_text(encoding="utf-8")
    assert "script" not in (paths.ROOT / ".dvc" / "plots.html").read_text(encoding="utf-8")


def test_data_and_augmentation_do_not_depend_on_the_model():
    for stage in ("cifar10", "digits", "augmentation"):
        assert "model" not in STAGES[stage].get("params", [])
        assert not any("results/" in dependency for dependency in STAGES[stage]["deps"])
    assert "model" in STAGES["training"]["params"]
    assert not any("plots" in dependency for dependency in STAGES["training"]["deps"])


@pytest.mark.parametrize("stage", NOTEBOOKS)
def test_source_notebooks_are_valid_and_hold_no_outputs(stage):
    source = nbformat.read(paths.NOTEBOOKS / f"{stage}.ipynb", as_version=4)
    nbformat.validate(source)
    code = [cell for cell in source.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert [cell.metadata.get("tags") for cell in code].count(["parameters"]) == 1


def test_a_notebook_gets_the_sections_that_its_stage_declares():
    given = inputs.sections("augmentation", parameters.read())
    assert set(given) == {"seed", "data", "augmentation"} and set(given["data"]) == {"name"}
    assert not hasattr(parameters.load(given), "training")


def page(text: str, **metadata) -> nbformat.NotebookNode:
    """A page with `text` and an image as it is published."""
    made, drawing = nbformat.v4.new_notebook(), nbformat.v4.new_code_cell("draw()")
    drawing.outputs = [nbformat.v4.new_output("display_data", {"image/png": "iVBO"}, metadata=metadata)]
    made.cells = [nbformat.v4.new_markdown_cell(text), drawing]
    notebook.normalise(made)
    return made


def test_a_page_keeps_what_its_images_show_and_links_to_the_pages_of_other_notebooks():
    shown = {"image/png": {"alt": "a line", "width": 500}}
    made = page("[a](a.ipynb), [b](../docs/b.md)", **shown, at="12:00")
    assert made.cells[0].source == "[a](../a/a.ipynb), [b](../docs/b.md)"
    assert made.cells[1].outputs[0].metadata == shown


@pytest.mark.parametrize(
    ("results", "shared"), [("results/runs/some", "../../.."), ("results", ".."), ("build/.demo.partial", "..")]
)
def test_a_page_of_a_run_links_to_its_own_pages_and_to_the_pipelines(results, shared, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", paths.ROOT / results)
    source = page("[a](integrators.ipynb), [b](evaluation.ipynb)").cells[0].source
    assert source == f"[a]({shared}/integrators/integrators.ipynb), [b](../evaluation/evaluation.ipynb)"


def test_normalised_notebooks_of_two_runs_are_equal():
    def executed(time, identity):
        made = nbformat.v4.new_notebook(
            metadata={"papermill": {"duration": time}, "kernelspec": {"name": "python3", "display_name": "Python 3"}}
        )
        cell = nbformat.v4.new_code_cell("train()", metadata={"tags": ["progress"], "papermill": {"duration": time}})
        cell.id, cell.outputs = identity, [nbformat.v4.new_output("stream", name="stdout", text=f"{time} ms")]
        other = nbformat.v4.new_code_cell("show()")
        other.outputs = [
            nbformat.v4.new_output("stream", name="stderr", text=f"at {time}"),
            nbformat.v4.new_output("stream", name="stdout", text="kept"),
        ]
        made.cells = [cell, other]
        notebook.normalise(made)
        return nbformat.writes(made)

    first, second = executed(1.5, "abcd"), executed(2.5, "efgh")
    assert first.replace("abcd", "") == second.replace("efgh", "")
    assert "kept" in first and "ms" not in first


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"h": -1}}, ["model.h", "-1", "greater than 0"]),
        ({"model": {"unroll_length": "four"}}, ["model.unroll_length", "'four'", "integer"]),
        ({"model": {"channels": [15]}}, ["params.yaml: model", "channels: 15 is odd", "block hamiltonian"]),
        ({"model": {"channels": [16, 24]}}, ["model.channels", "24", "multiple of 16"]),
        ({"model": {"hh": 1}}, ["unknown key model.hh"]),
        ({"model": {"pool_after": [6]}}, ["pool_after", "from 1 to 5"]),
        ({"augmentation": {"crop": 4}}, ["augmentation: shift 0.1 and crop 4: choose one"]),
        ({"training": {"batch_size": 33}}, ["whole number"]),
        ({"training": {"devices": 3}}, ["batch_size 32 does not divide into equal parts for 3 devices"]),
        ({"toys": {"channels": 3}}, ["toys.channels", "3", "multiple of 2"]),
        ({"training": {"reference_drops": [64000.0]}}, ["before reference_iterations"]),
    ],
)
def test_wrong_parameters_are_named(change, words):
    with pytest.raises(InputError) as caught:
        parameters.load(change)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_params_yaml_is_read_in_any_locale():
    """In ASCII here, which every machine has; so in Latin-1, EUC-JP and GBK."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": paths.python_path()}
    command = [sys.executable, "-X", "utf8=0", "-m", "resode", "check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "params.yaml: all 56 values valid\n", "")


def test_results_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, refused):
    (tmp_path / "results").write_text("a file where the folder should be", encoding="utf-8")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    assert refused("model").startswith("cannot write")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model.h": -1}, "here: model.h = -1"),
        ({"model.unroll_length": 2}, "params.yaml: model.h = 'much'"),
        ({"training.convolution": "winograd", "model.kernel_size": 5}, "here: training.convolution winograd needs"),
    ],
)
def test_messages_name_the_file_that_the_wrong_value_stands_in(settings, words, monkeypatch):
    content = parameters.read()
    if "much" in words:
        content["model"]["h"] = "much"
    monkeypatch.setattr(parameters, "read", lambda: content)
    with pytest.raises(InputError) as caught:
        parameters.changed(settings, "here")
    assert str(caught.value).startswith(words)


@pytest.mark.slow
def test_demo_leaves_the_clone_as_it_was_and_its_stages_write_equal_bytes_again(clone):
    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "resode", *arguments], cwd=clone, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def status():
        return subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, check=True).stdout

    def written(folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    # An epoch of 44 updates.
    settings = ["model.channels=[4]", "model.pool_after=[]", "model.unroll_length=1", "training.reference_iterations=5.5",
                "training.reference_drops=[3.0]", "toys.updates=2", "toys.unroll_length=2"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(clone / "src")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    # As on a fresh machine: no git identity.
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    before = status()
    run("demo", *(part for one in settings for part in ("--set", one)))
    assert status() == before
    found = written(clone / "build" / "demo")
    assert {f"{stage}/{stage}.ipynb" for stage in cli.STAGES} | {"training/model.weights.h5"} <= set(found)
    assert json.loads(found["report/report.json"])["kind"] == "demo"
    assert "site/index.html" in found and b'src="http' not in found["site/results/report/report.html"]
    assert b'href="../integrators/integrators.html"' in found["site/results/story/story.html"]
    # In the clone itself, where nothing was trained any more.
    shutil.rmtree(clone / ".runs")
    content = parameters.changed(parameters.read_as(demo.SETTINGS) | parameters.settings(settings), "here")
    (clone / "params.yaml").write_text(yaml.text(content), encoding="utf-8")
    for stage in ("digits", "augmentation", "training", "evaluation"):
        run(stage)
        again = {f"{stage}/{name}": one for name, one in written(clone / "results" / stage).items()}
        # How long it took is the only thing that may differ.
        assert {name for name, one in again.items() if one != found[name]} <= {"training/provenance.json"}


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_writes_beside_its_results_when_opened_in_jupyter_and_links_to_those_of_stages(notebook):
    source = nbformat.read(paths.NOTEBOOKS / f"{notebook}.ipynb", as_version=4)
    text = "".join(cell.source for cell in source.cells if cell.cell_type == "markdown")
    code = "".join(cell.source for cell in source.cells if cell.cell_type == "code")
    assert f'paths.output_folder("{notebook}")' in code
    relative = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert set(relative) <= {f"{stage}.ipynb" for stage in cli.STAGES}
