"""The terminal without the notes of TensorFlow, and with its errors."""

import os
import subprocess
import sys

import pytest

from resode.base import paths, quiet


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.slow
def test_a_backend_starts_without_a_word_and_leaves_stderr_as_it_was(backend):
    program = "import resode, os, keras, tensorflow as tf; keras.ops.ones(1); tf.ones(1); tf.config.list_physical_devices(); tf.get_logger().warning('tracing'); tf.get_logger().error('kept'); os.write(2, b'I0000 mine')"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    environment |= {"KERAS_BACKEND": backend, "PYTHONPATH": paths.python_path()}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "ERROR:tensorflow:kept\nI0000 mine")


def test_errors_are_kept_even_of_a_process_that_crashes():
    program = f"""
import os
from resode.base import quiet
with quiet._stderr_without({quiet._NOTES!r}):
    os.write(2, b"I0000 00:00:1795635402.139175 8914 cudart_stub.cc:31] Could not find cuda drivers\\n")
    os.write(2, b"E0000 00:00:1795635402.139175 8914 cuda.cc:52] out of memory\\nTraceback\\n")
    os.abort()
"""
    environment = {**os.environ, "PYTHONPATH": paths.python_path()}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode < 0
    assert done.stderr == "E0000 00:00:1795635402.139175 8914 cuda.cc:52] out of memory\nTraceback\n"
