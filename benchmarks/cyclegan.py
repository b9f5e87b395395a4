"""`train_cyclegan` on horse2zebra: peak memory and seconds a step of one network at one size, in a process of its own.

    python benchmarks/cyclegan.py SIZE BATCH WIDTH BLOCKS STEPS     (run.py bench cyclegan does)

Prints one line of JSON: seconds, the median of all steps but the first; gib, the most memory that the process ever held
(null on Windows, which does not say); data, what it trained on. The peak is that of a process's whole life, so each
measurement needs its own.
"""

import json
import os
import sys
import time

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import keras
import numpy as np
from loops import notebook_functions

import keras_gen as kg


def horses_and_zebras(size):
    """The training images, whole, as a user holds them; random ones in the same number where they are not at hand."""
    try:
        return "horse2zebra", kg.load_domains("horse2zebra", size)[0]
    except kg.DataUnavailable:
        rng = np.random.default_rng(0)
        return "random images", tuple(rng.integers(0, 256, (n, size, size, 3), np.uint8) for n in (1067, 1334))


def peak_memory():
    """In GiB, or None."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


class StopAfter(keras.callbacks.Callback):
    """Stop after some steps, and keep the time of each."""

    def __init__(self, n_steps):
        super().__init__()
        self.n_steps, self.ticks = n_steps, []

    def on_train_batch_end(self, batch, logs=None):
        self.ticks.append(time.perf_counter())
        self.model.stop_training = len(self.ticks) > self.n_steps


def main():
    size, n_batch, width, n_blocks, n_steps = map(int, sys.argv[1:])
    constants = {"WIDTH": width, "BLOCKS": n_blocks, "WEIGHTS": (1, 5, 10, 10), "RATE": 2e-4}
    wanted = ["convolve", "enlarge", "define_generator", "define_discriminator", "define_cyclegan"]
    define_cyclegan = notebook_functions("06_cyclegan", wanted, **constants)["define_cyclegan"]
    data, domains = horses_and_zebras(size)
    clock = StopAfter(n_steps)
    kg.train_cyclegan(*define_cyclegan(size), domains, n_epochs=1, n_batch=n_batch, callbacks=[clock], verbose=0)
    print(json.dumps({"seconds": float(np.median(np.diff(clock.ticks))), "gib": peak_memory(), "data": data}))


if __name__ == "__main__":
    main()
