"""The runner of notebooks: what it reads, what it replaces, and in which Python with which settings."""

import io
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

from resode import cli
from resode.base import environment, paths
from resode.base.errors import InputError
from resode.config import parameters, yaml
from resode.pipeline import inputs, notebook
from resode.training import progress

STAGE = """
stages:
  toys:
    cmd: PYTHONPATH=src python -m resode toys
    deps: [notebooks/toys.ipynb, src/toys.py]
    params: [seed, toys]
    outs:
      - results/toys: {cache: false, persist: true}
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder with an odd name, the repository's params.yaml and one stage, whose notebook `write` makes."""
    tmp_path = tmp_path / "w $HOME $$x"
    tmp_path.mkdir()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "toys.py").write_text("first = 1\n", encoding="utf-8")
    (tmp_path / "params.yaml").write_bytes(paths.PARAMS.read_bytes())
    (tmp_path / "dvc.yaml").write_text(STAGE, encoding="utf-8")
    (tmp_path / "results" / "toys").mkdir(parents=True)
    (tmp_path / "results" / "toys" / "toys.json").write_text("good", encoding="utf-8")
    # Kernels import the package from where it lies.
    python_path = paths.python_path()
    monkeypatch.setattr(paths, "python_path", lambda: python_path)
    names = {"ROOT": "", "PARAMS": "params.yaml", "DVC_YAML": "dvc.yaml", "RUNS": ".runs"}
    for name, path in {**names, "NOTEBOOKS": "notebooks", "RESULTS": "results"}.items():
        monkeypatch.setattr(paths, name, tmp_path / path)
    for name in ("PYTHONPATH", "JUPYTER_PATH", "KERAS_HOME", *environment.FOLDERS, *environment.LEFT_OUT):
        # Put back after the test.
        monkeypatch.setenv(name, "")
    return tmp_path


def write(repository, code: str, name: str = "toys") -> None:
    cells = [nbformat.v4.new_markdown_cell("# Toys"), *map(nbformat.v4.new_code_cell, ("params = {}", code))]
    cells[1].metadata["tags"] = ["parameters"]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (repository / "notebooks").mkdir(exist_ok=True)
    nbformat.write(made, repository / "notebooks" / f"{name}.ipynb")


def edit(path, before: str, after: str) -> str:
    """Code that edits the file `path`."""
    return (
        f"from pathlib import Path; path = Path({str(path)!r}); text = path.read_text(encoding='utf-8')\n"
        f"path.write_text(text.replace({before!r}, {after!r}), encoding='utf-8')\n"
    )


def results(repository) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((repository / "results" / "toys").iterdir())}


WRITE = "from resode.base import paths; (paths.results('toys') / 'toys.json').write_text('new', encoding='utf-8')\n"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("params.yaml", "seed: 0", "seed: 5"),
        pytest.param("params.yaml", "updates: 600", "updates: 700", marks=pytest.mark.slow),
        pytest.param("src/toys.py", "1", "2", marks=pytest.mark.slow),
        pytest.param("notebooks/toys.ipynb", "# Toys", "# Others", marks=pytest.mark.slow),
    ],
)
def test_inputs_that_change_while_a_stage_runs_keep_the_last_results(name, before, after, repository, refused):
    write(repository, WRITE + edit(repository / name, before, after))
    named = {"seed: 0": "seed of params.yaml", "updates: 600": "toys of params.yaml"}.get(before, name)
    assert refused("toys") == f"{named} changed while toys ran; its last results are kept, run it again"
    assert results(repository) == {"toys.json": "good"}
    assert [path.name for path in (repository / "results").iterdir()] == ["toys"]


def test_a_data_set_whose_sources_changed_is_not_said_to_be_the_last(repository):
    (repository / "dvc.yaml").write_text("stages: {digits: {deps: [src/toys.py]}}", encoding="utf-8")
    told = pytest.raises(InputError, match="^src/toys.py changed while digits ran; run it again$")
    with told, inputs.unchanged("digits", parameters.read()):
        (repository / "src" / "toys.py").write_text("second = 2\n", encoding="utf-8")


def test_a_notebook_has_the_parameters_of_the_start(repository):
    read = "from resode.config import parameters\nassert parameters.load(params).toys.updates == 600"
    write(repository, edit(repository / "params.yaml", "updates: 600", "updates: 700") + read)
    # At the end, so that the notebook has found what it was to find.
    with pytest.raises(InputError, match="^toys of params.yaml changed while toys ran"):
        notebook.run("toys")
    assert results(repository) == {"toys.json": "good"}


def test_a_file_servers_clock_does_not_matter(repository):
    """What is written has times of long ago; what is of the last run, and not written again, goes."""
    old = repository / "results" / "toys" / "old.png"
    old.write_text("of the last run", encoding="utf-8")
    late = f"import os; from pathlib import Path\nPath({str(old.with_name('mine.txt'))!r}).touch()\n"
    write(repository, f"{WRITE}{late}os.utime(paths.results('toys') / 'toys.json', (1e9, 1e9))")
    notebook.run("toys")
    found = results(repository)
    assert set(found) == {"toys.json", "toys.ipynb", "mine.txt"} and found["toys.json"] == "new"


def test_results_may_be_a_link_to_another_disk(repository, monkeypatch):
    folder, disk = repository / "results" / "toys", repository / "disk" / "toys"
    disk.parent.mkdir()
    folder.rename(disk)
    folder.symlink_to(disk)
    replace = os.replace

    def between_disks(source, target):
        if str(disk.parent) in str(target):
            assert str(disk.parent) in str(source), "Invalid cross-device link"
        replace(source, target)

    monkeypatch.setattr(os, "replace", between_disks)
    write(repository, WRITE)
    notebook.run("toys")
    assert folder.is_symlink() and results(repository)["toys.json"] == "new"
    assert [path.name for path in disk.parent.iterdir()] == [path.name for path in folder.parent.iterdir()] == ["toys"]


def test_a_stage_that_already_runs_is_refused(repository, monkeypatch, refused):
    def meanwhile(*_):
        raise InputError(f"meanwhile {refused('toys')}")

    monkeypatch.setattr(notebook, "_execute", meanwhile)
    assert refused("toys").startswith(f"meanwhile the same already runs as process {os.getpid()}; ")


RUNNER = """
import sys
from pathlib import Path
from resode import cli
from resode.base import paths
here = Path.cwd()
paths.ROOT, paths.PARAMS, paths.DVC_YAML = here, here / "params.yaml", here / "dvc.yaml"
paths.NOTEBOOKS, paths.RESULTS, paths.RUNS = here / "notebooks", here / "results", here / ".runs"
sys.exit(cli.main(["toys"]))
"""


@pytest.mark.slow
def test_dvc_does_not_record_a_stage_whose_seed_changed_while_it_ran(repository):
    (repository / "run.py").write_text(RUNNER, encoding="utf-8")
    stage = STAGE.replace("PYTHONPATH=src python -m resode toys", f"{sys.executable} run.py")
    (repository / "dvc.yaml").write_text(stage, encoding="utf-8")
    write(repository, WRITE + edit(repository / "params.yaml", "seed: 0", "seed: 5"))
    environment = {**os.environ, "PYTHONPATH": paths.python_path()}

    def dvc(*arguments):
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True)

    assert dvc("init", "--no-scm", "--quiet").returncode == 0
    first = dvc("repro", "-s", "toys")
    assert first.returncode and "error: seed of params.yaml changed while toys ran" in first.stderr
    assert results(repository) == {"toys.json": "good"} and not (repository / "dvc.lock").exists()


@pytest.mark.slow
def test_a_home_full_of_settings_decides_nothing(repository, monkeypatch, tmp_path):
    home = tmp_path / "home"
    kernel = '{"argv": ["false"], "display_name": "Another", "language": "python"}'
    files = {
        ".local/share/jupyter/kernels/python3/kernel.json": kernel,
        ".config/matplotlib/matplotlibrc": "figure.dpi: 7",
        "matplotlibrc": "figure.dpi: 8",
        ".ipython/profile_default/startup/first.py": "raise SystemExit",
        "startup.py": "startup = 1",
        ".keras/keras.json": '{"floatx": "float64", "backend": "torch"}',
    }
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content, encoding="utf-8")
    (repository / "matplotlibrc").write_text("figure.dpi: 9\nsavefig.facecolor: red", encoding="utf-8")
    variables = {"JAX_ENABLE_X64": "1", "JAX_RANDOM_SEED_OFFSET": "7", "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16"}
    variables |= {"KERAS_NNX_ENABLED": "1", "KERAS_BACKEND": "jax", "HOME": home, "PYTHONSTARTUP": home / "startup.py"}
    variables |= {"JUPYTER_PATH": home / ".local" / "share" / "jupyter", "MATPLOTLIBRC": home / "matplotlibrc"}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    for name in ("KERAS_HOME", *environment.FOLDERS):
        monkeypatch.delenv(name)
    checks = f"import sys; assert sys.executable == {sys.executable!r}\n"
    checks += "from resode.figures import style; import matplotlib\nassert matplotlib.rcParams['figure.dpi'] == 100\n"
    checks += "assert matplotlib.rcParams['savefig.facecolor'] == 'auto' and 'startup' not in globals()\n"
    checks += "import keras; assert keras.config.floatx() == 'float32' and keras.backend.backend() == 'jax'\n"
    checks += "assert not keras.config.is_nnx_enabled()\n"
    # Nor is one written, which could be changed.
    checks += "import os; assert not os.path.exists(os.environ['KERAS_HOME'] + '/keras.json')\n"
    checks += "import jax; assert not jax.config.jax_enable_x64 and jax.config.jax_default_matmul_precision is None\n"
    checks += "assert jax.config.jax_random_seed_offset == 0\n"
    write(repository, checks + "print('reached')")
    assert cli.main(["toys"]) == 0
    assert "reached" in results(repository)["toys.ipynb"]


@pytest.mark.parametrize("command", ["check", "toys", "bench"])
def test_a_backend_of_others_is_one_line(command, repository, monkeypatch, refused):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert refused(command) == "KERAS_BACKEND=torch: set it to tensorflow or jax, or not at all"


def interrupts(monkeypatch) -> list:
    made = []
    original = AsyncKernelManager._async_interrupt_kernel

    async def counted(self):
        made.append(self)
        await original(self)

    monkeypatch.setattr(AsyncKernelManager, "_async_interrupt_kernel", counted)
    return made


def test_a_kernel_that_is_done_is_not_interrupted(repository, monkeypatch, capfd):
    """Interrupted just after its last answer, it would print "KeyboardInterrupt caught in kernel"."""
    made = interrupts(monkeypatch)
    write(repository, "1")
    notebook.run("toys")
    assert not made and "KeyboardInterrupt" not in capfd.readouterr().err


def test_a_kernel_that_works_is_interrupted_with_its_stage(repository, monkeypatch):
    made = interrupts(monkeypatch)

    class Impatient(io.StringIO):
        def write(self, text):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdout", Impatient())
    write(repository, "import time; print('on', flush=True); time.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        notebook.run("toys")
    assert len(made) == 1 and results(repository) == {"toys.json": "good"}


@pytest.mark.slow
def test_a_kernel_knows_the_terminal_and_tensorflow_is_quiet_in_it(repository, monkeypatch, capfd):
    monkeypatch.setenv(progress.COLUMNS, "77")
    write(repository, "import tensorflow\nfrom resode.training import progress\nprint(progress.columns())")
    assert cli.main(["toys"]) == 0
    assert capfd.readouterr() == ("77\n", "")


@pytest.mark.slow
def test_a_notebook_opened_in_jupyter_writes_beside_the_pipelines_results(tmp_path, monkeypatch):
    stage = "model"
    copied = ("src", "notebooks", "reference")
    for name in copied:
        shutil.copytree(paths.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    small = {"model.channels": [4, 16]}
    content = yaml.text(parameters.changed({**small, "model.pool_after": [1]}))
    (tmp_path / "params.yaml").write_text(content, encoding="utf-8")
    for name in ("RESODE_PARAMS", "RESODE_RESULTS", "RESODE_STAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
    # Python would write its caches beside the sources.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    opened = nbformat.read(tmp_path / "notebooks" / f"{stage}.ipynb", as_version=4)
    before = {path for name in copied for path in (tmp_path / name).rglob("*")}
    NotebookClient(
        opened, kernel_name="python3", resources={"metadata": {"path": str(tmp_path / "notebooks")}}
    ).execute()
    assert {path.name for path in tmp_path.iterdir()} == {*copied, "params.yaml", "build"}
    assert {path for name in copied for path in (tmp_path / name).rglob("*")} == before
    assert list((tmp_path / "build" / "notebooks" / stage).glob("*.png"))
    assert "build" in (paths.ROOT / ".gitignore").read_text(encoding="utf-8").split()
