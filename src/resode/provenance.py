"""Where a result comes from: hardware, software, commit, data."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import keras

from . import paths


def software() -> dict[str, str]:
    """Backend and versions of what computes."""
    backend = keras.backend.backend()
    names = ["keras", "numpy", *({"jax": ["jax", "jaxlib"]}.get(backend, [backend]))]
    return {"backend": backend, "python": platform.python_version(), **{name: version(name) for name in names}}


def hardware() -> str:
    """The device that computes, in words."""
    accelerators = []
    if keras.backend.backend() == "jax":
        import jax

        accelerators = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    else:
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            accelerators.append(tf.config.experimental.get_device_details(device).get("device_name", "GPU"))
    return ", ".join(accelerators) or f"CPU: {_processor()}, {_cores()} cores"


def commit() -> dict[str, str | bool | None]:
    """The commit that runs, and whether its code was changed (parameters are recorded beside it); None outside a git checkout."""
    revision = _git("rev-parse", "HEAD")
    if revision is None:
        return {"commit": None, "modified": None}
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "src", "notebooks", "dvc.yaml")
    return {"commit": revision, "modified": bool(changed)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=paths.ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
