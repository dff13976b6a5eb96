"""Keras' files with layers of ours, and backends on which these are not to be computed, each in a process of its own."""

import os
import subprocess
import sys

import keras
import pytest

from resode.base import paths
from resode.nn.blocks import HamiltonianConv2D
from resode.nn.lm_resnet import StochasticDepth


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network with a layer of each module that registers some."""
    path = tmp_path_factory.mktemp("saved") / "network.keras"
    inputs = keras.Input((8, 8, 4))
    branch = HamiltonianConv2D(unroll_length=2)(inputs)
    keras.Model(inputs, StochasticDepth(0.5)(branch)).save(path)
    return path


def python(code: str, **environment) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT / "src")} | environment
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports", ["import resode, keras", "import keras, resode.nn.blocks", "import resode.nn.loops, keras"]
)
def test_files_with_our_layers_load_after_any_import_of_ours(imports, saved):
    done = python(f"{imports}; print(len(keras.models.load_model({str(saved)!r}).layers))")
    assert done.stdout == "3\n", done.stderr


def test_import_alone_loads_neither_keras_nor_tensorflow():
    assert python("import resode, sys; print({'keras', 'tensorflow', 'jax'} & set(sys.modules))").stdout == "set()\n"


@pytest.mark.slow
def test_backend_that_nobody_has_compared_is_refused(tmp_path):
    done = python("import resode.nn.model", KERAS_BACKEND="numpy")
    assert "InputError: Keras has the backend numpy; set the environment variable KERAS_BACKEND" in done.stderr
    # As Keras' own file of settings has it.
    (tmp_path / "keras.json").write_text('{"backend": "numpy"}')
    own = {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": ""}
    done = python("import os; del os.environ['KERAS_BACKEND']; import resode, keras; import resode.nn", **own)
    assert "InputError: Keras has the backend numpy" in done.stderr
    # What needs no layers works.
    assert python("import resode, keras, resode.ode.integrators; print(1)", KERAS_BACKEND="numpy").stdout == "1\n"
