"""The tests of the core that are marked `every_backend` once more, in a process of its own for each other backend.

Those of the other files run there with `run.py test --jax` and `--torch`.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

CORE = ["cyclegan", "gan", "gradients", "layers", "loop", "runs", "vae"]


def start(backend, output):
    """Start the core's tests on a backend; their output goes to a file."""
    # The flag takes a third off: compiling is most of what such small networks cost.
    variables = {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    files = [Path(__file__).with_name(f"test_{name}.py") for name in CORE]
    command = [sys.executable, "-m", "pytest", "-m", "every_backend", "-p", "no:cacheprovider", *files]
    with open(output, "w") as file:
        return subprocess.Popen(command, env=os.environ | variables, stdout=file, stderr=subprocess.STDOUT)


def why_not(backend):
    if keras.backend.backend() != "tensorflow":
        return "this is such a process"
    return None if importlib.util.find_spec(backend) else f"{backend} is not installed"


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_on(backend, on_backends):
    if reason := why_not(backend):
        pytest.skip(reason)
    process, output = on_backends[backend]
    status, printed = process.wait(), output.read_text()
    assert status == 0 and " passed" in printed, printed[-7000:]
