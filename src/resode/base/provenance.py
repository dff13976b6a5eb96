"""Origin of a result: hardware, software, commit, data."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from resode.base import environment, paths


def software() -> dict[str, str]:
    """The backend, and the versions of the libraries that compute."""
    import keras

    backend = keras.backend.backend()
    names = ["keras", "numpy", *({"jax": ["jax", "jaxlib"]}.get(backend, [backend]))]
    found = {"backend": backend, "python": platform.python_version(), **{name: version(name) for name in names}}
    if backend == "tensorflow":
        # Its kernels round otherwise than TensorFlow's own.
        found["onednn"] = os.environ.get(environment.ONEDNN, "default")
    return found


def same_software() -> dict[str, str]:
    """The part of `software` that decides bits: all but the patch of Python."""
    found = software()
    return found | {"python": ".".join(found["python"].split(".")[:2])}


def hardware() -> str:
    """The device that computes, in words."""
    import keras

    accelerators = []
    if keras.backend.backend() == "jax":
        import jax

        accelerators = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    else:
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            accelerators.append(tf.config.experimental.get_device_details(device).get("device_name", "GPU"))
    return ", ".join(accelerators) or f"CPU: {_processor()}, {cores()} core{'s' * (cores() > 1)}"


def arithmetic(precision: str) -> str:
    """The precision of `training.precision` in words: on GPUs that have TensorFloat-32, float32 products are taken in it."""
    return f"{precision}, products in TF32" if precision == "float32" and _tf32() else precision


def _tf32() -> bool:
    """Return whether float32 convolutions run in TF32 (10 bits of mantissa): the backends' default from compute capability 8.0."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        devices = [device for device in jax.devices() if device.platform == "gpu"]
        return (
            bool(devices) and float(devices[0].compute_capability) >= 8 and not jax.config.jax_default_matmul_precision
        )
    import tensorflow as tf

    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    capable = bool(details) and details[0].get("compute_capability", (0, 0)) >= (8, 0)
    return capable and tf.config.experimental.tensor_float_32_execution_enabled()


def commit() -> dict[str, str | bool | None]:
    """The commit that runs, and whether its code was changed (parameters are recorded beside it).

    Outside a git checkout the commit is what the environment variable RESODE_COMMIT says, or None; `commit_unknown` is the reason
    then. Outputs that are saved in a notebook are no change.
    """
    try:
        revision = _git("rev-parse", "HEAD").strip()
        changed = _git("diff", "--name-only", "-z", "HEAD", "--", "src", "notebooks", "dvc.yaml").split("\0")
        return {"commit": revision, "modified": any(_changed(name) for name in changed if name)}
    except (OSError, subprocess.CalledProcessError) as error:
        if commit := os.environ.get("RESODE_COMMIT"):
            return {"commit": commit, "modified": None}
        said = error.stderr.strip().split("\n")[0] if isinstance(error, subprocess.CalledProcessError) else str(error)
        return {"commit": None, "modified": None, "commit_unknown": f"git: {said.removeprefix('fatal: ')}"}


def made() -> dict[str, str | bool | None]:
    """Hardware, software and commit that a result was made by."""
    return {"hardware": hardware(), **software(), **commit()}


def _changed(name: str) -> bool:
    """Return whether the changed file `name` differs from the commit in more than a notebook's outputs."""
    path = paths.ROOT / name
    if path.suffix != ".ipynb" or not path.exists():
        return True
    try:
        cells = (json.loads(text)["cells"] for text in (_git("show", f"HEAD:{name}"), path.read_text(encoding="utf-8")))
        before, after = ([(cell["cell_type"], "".join(cell["source"])) for cell in some] for some in cells)
    except (KeyError, ValueError, subprocess.CalledProcessError):
        # No notebook, or one that the commit does not have.
        return True
    return before != after


def _git(*arguments: str) -> str:
    # A repository around this folder is another one; so is that of a hook in which this runs.
    environment = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    environment["GIT_CEILING_DIRECTORIES"] = str(paths.ROOT.parent)
    # Wherever core.worktree points, this is the code that runs.
    command = ["git", "--no-optional-locks", "--work-tree", str(paths.ROOT), *arguments]
    options = {"capture_output": True, "check": True, "encoding": "utf-8", "errors": "replace"}
    return subprocess.run(command, cwd=paths.ROOT, env=environment, **options).stdout


def _processor() -> str:
    """Its name, and its widest vector instructions where Linux tells them: cloud machines with one processor name can differ threefold in speed."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    flags = fields.get("flags", "").split()
    widest = [name for flag, name in (("avx2", "AVX2"), ("avx512f", "AVX-512"), ("amx_tile", "AMX")) if flag in flags]
    return ", ".join([fields["model name"], *widest[-1:]])


def cores() -> int:
    """The CPU cores that this process may use. Sums are divided among them: their number decides how they are rounded."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
