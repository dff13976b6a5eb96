"""Settings of the libraries: the project's own, so that no result depends on the user's."""

import importlib.util
import os
import subprocess
import sys
import warnings
from contextlib import suppress

from resode.base import paths
from resode.base.errors import InputError
from resode.base.text import quoted

BACKENDS = ("tensorflow", "jax")
# Folders in which the libraries look for settings and find none, by environment variable.
FOLDERS = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "MPLCONFIGDIR")
# Variables that would add to them, or let TensorFlow compute in another way than everyone else's.
LEFT_OUT = (
    "JUPYTER_CONFIG_PATH",
    "JUPYTER_PATH",
    "MATPLOTLIBRC",
    "MPLBACKEND",
    # Threads of XLA:CPU. Like the other two they divide sums otherwise than among the cores that provenance.json names.
    "NPROC",
    "NVIDIA_TF32_OVERRIDE",
    "PYTHONWARNINGS",
    "PYTHONSTARTUP",
    "TF_ENABLE_AUTO_MIXED_PRECISION",
    "TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
)
# JAX, Keras and oneDNN have a variable for each of their settings. All are left out, except those that say where to compute and
# not how.
_PREFIXES = ("DNNL_", "JAX_", "KERAS_", "ONEDNN_")
_KEPT = ("JAX_COMPILATION_CACHE_DIR", "JAX_PLATFORMS", "KERAS_BACKEND")
# oneDNN's kernels on every x86 processor. By default TensorFlow uses them only on newer ones; on others it is slower, and rounds
# differently.
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


def own() -> None:
    """Give this process and those that it starts the project's own settings; whatever these leave open has the libraries' defaults."""
    os.environ.setdefault(ONEDNN, "1")
    # jsonschema, which checks notebooks, would build its grammar of international addresses: a second for each stage.
    sys.modules.setdefault("rfc3987_syntax", None)
    if "PYTHONWARNINGS" in os.environ:
        # This process has read it: with "error", what a library deprecates would end the run.
        warnings.simplefilter("ignore")
    for name in list(os.environ):
        if name in LEFT_OUT or (name.startswith(_PREFIXES) and name not in _KEPT):
            del os.environ[name]
    # Keras writes its settings where it finds none, and reads what anyone may have put there since. Here it does neither.
    os.environ["KERAS_HOME"] = os.devnull
    for name in FOLDERS:
        folder = paths.RUNS / "settings" / name.lower()
        os.environ[name] = str(folder)
        # IPython complains about one that is not there. A command that only reads runs without.
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)


def check_backend() -> None:
    """Check the environment variables KERAS_BACKEND and JAX_PLATFORMS, before Keras and JAX read them.

    Raises:
        InputError: it names no backend of this project, or one that is not installed; or JAX finds no device of JAX_PLATFORMS.
    """
    backend = os.environ.get("KERAS_BACKEND", BACKENDS[0])
    if backend not in BACKENDS:
        raise InputError(f"KERAS_BACKEND={quoted(backend)}: set it to {' or '.join(BACKENDS)}, or not at all")
    if "KERAS_BACKEND" in os.environ and importlib.util.find_spec(backend) is None:
        raise InputError(f"KERAS_BACKEND={backend} is not installed; run: make setup")
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if backend == "jax" and platforms not in ("", "cpu"):
        # Not in this process, which would hold the memory of a GPU.
        done = subprocess.run([sys.executable, "-P", "-c", "import jax; jax.devices()"], capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:]
            raise InputError(
                f"JAX_PLATFORMS={quoted(platforms)}: JAX finds no such device ({quoted(' '.join(said), 300)}); unset it"
            )
