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


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_on(backend):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("this is such a process")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    # The flag takes a third off: compiling is most of what such small networks cost.
    variables = {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    files = [Path(__file__).with_name(f"test_{name}.py") for name in CORE]
    command = [sys.executable, "-m", "pytest", "-m", "every_backend", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
