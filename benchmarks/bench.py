"""What does a training step cost? keras_gen's `train` against the same mathematics written in other ways.

    python run.py bench [dcgan] [dense] [cyclegan] [--quick]

The variants take turns, some steps each and in rotating order, so that a machine whose speed drifts is fair to all. A
step is all of it: draw the samples, train the discriminator twice and the generator once, five numbers for the log.
`cyclegan` has no rival here: it measures the memory and the time of `train_cyclegan` at two sizes.

On the CPU, about six minutes. `--quick` shows on tiny networks that it works; its times mean nothing.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

if importlib.util.find_spec("torch"):
    # Before TensorFlow: the Triton of PyTorch's CUDA build, which its optimizers load, crashes when it comes second.
    importlib.import_module("torch._dynamo")

import keras
import numpy as np
import tensorflow as tf
from loops import LATENT_DIM, define_dcgan, define_dense_gan, fused_loop, lecture_loop, module_loop, plain_loop

WORKLOADS = {  # networks, image shape, batch, steps a chunk, seconds after which no further round starts
    "dcgan": (define_dcgan, (32, 32, 3), 128, 5, 90),
    "dense": (define_dense_gan, (28, 28, 1), 32, 50, 40),
}
WIDTH = 128  # the lecture's
HAS_TORCH = "torch" in sys.modules
VARIANTS = {
    "a": "(a) keras_gen's train",
    "b": "(b) one fused TensorFlow graph",
    "c": "(c) the lecture's loop with predict",
    "d": "(d) PyTorch, eager",
    "e": "(e) the lecture's loop by hand, plain",
}
AIMS = {  # two variants, and where the ratio of their times should lie
    "dcgan": [("a", "b", "at most", 1.05), ("a", "e", "at most", 1.0), ("d", "a", "at least", 1.5)],
    "dense": [("a", "b", "at most", 1.5), ("a", "e", "at most", 1.0), ("c", "a", "at least", 6)],
}

CYCLEGANS = {  # size, batch, width, residual blocks, and the most memory it should take, in GiB
    "the notebook's": (64, 4, 16, 2, 4),
    "the notebook's, larger images": (128, 1, 16, 2, 4),
    "the lecture's": (128, 1, 64, 6, 4),
}


def random_images(n, shape):
    return np.random.default_rng(0).uniform(-1, 1, (n, *shape)).astype("float32")


def measure(loops, n_rounds, seconds):
    """Seconds of every step of every loop, in `n_rounds` rounds of one chunk each; fewer once `seconds` are over."""

    def chunk(loop):
        ticks = []
        loop(lambda logs: ticks.append(time.perf_counter()))
        return np.diff(ticks).tolist()  # from tick to tick: the first step only starts the clock

    names = list(loops)
    times = {name: [] for name in names}
    for loop in loops.values():
        chunk(loop)  # warm up
    end = time.perf_counter() + seconds
    for _ in range(n_rounds):
        for name in names:
            times[name] += chunk(loops[name])
        names = names[1:] + names[:1]
        if time.perf_counter() > end:
            break
    return times


def make_loops(define, images, n_batch, width):
    variants = {"a": module_loop, "b": fused_loop, "c": lecture_loop, "e": plain_loop}
    loops = {name: variant(*define(LATENT_DIM, width), images, n_batch) for name, variant in variants.items()}
    if HAS_TORCH:
        import torch_gan

        models = getattr(torch_gan, define.__name__)(LATENT_DIM, width)
        sizes = [model.count_params() for model in define(LATENT_DIM, width)]
        assert [torch_gan.count_params(model) for model in models] == sizes, "PyTorch's networks are others"
        loops["d"] = torch_gan.torch_loop(*models, images, LATENT_DIM, n_batch)
    return loops


def bench(kind, quick):
    define, shape, n_batch, n_steps, seconds = WORKLOADS[kind]
    width, n_rounds = WIDTH, 10
    if quick:
        width, n_batch, n_steps, n_rounds = 8, 8, 3, 1
    note = "  [quick: the times mean nothing]" if quick else ""
    print(f"\n{kind}: width {width}, images {'x'.join(map(str, shape))}, batch {n_batch} ...{note}", flush=True)
    images = random_images((n_steps + 1) * n_batch, shape)
    with contextlib.redirect_stdout(io.StringIO()):  # the loops' progress lines and bars
        times = measure(make_loops(define, images, n_batch, width), n_rounds, seconds)

    medians = {name: float(np.median(values)) for name, values in times.items()}
    print(f"{'variant':38} {'ms a step':>10} {'/ (b)':>8} {'steps':>6}")
    for name, median in medians.items():
        print(f"{VARIANTS[name]:38} {median * 1e3:10.2f} {median / medians['b']:8.2f} {len(times[name]):6}")
    if not HAS_TORCH:
        print(f"{VARIANTS['d']:38} not installed; its CPU build: uv pip install --torch-backend cpu torch")
    print()
    for slow, fast, sign, bound in AIMS[kind]:
        result = "not measured"
        if slow in medians:
            ratio = medians[slow] / medians[fast]
            met = ratio <= bound if sign == "at most" else ratio >= bound
            result = f"{ratio:.2f}, {'met' if met else 'missed'}"
        print(f"aim: ({slow}) {sign} {bound:g} x ({fast}): {result}")


def bench_cyclegan(quick):
    note = "  [quick: the times mean nothing]" if quick else ""
    print(f"\ncyclegan: train_cyclegan on all of horse2zebra{note}\n\n{'networks':32} {'s a step':>9} {'peak GiB':>9}")
    for name, (size, n_batch, width, n_blocks, bound) in CYCLEGANS.items():
        numbers = (32, 1, 4, 0, 2) if quick else (size, n_batch, width, n_blocks, 8)
        script = [sys.executable, Path(__file__).parent / "cyclegan.py", *map(str, numbers)]
        run = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True)
        result = json.loads(run.stdout.splitlines()[-1])
        memory, met = "unknown", "not measured"
        if result["gib"] is not None:
            memory, met = f"{result['gib']:.2f}", "met" if result["gib"] <= bound else "missed"
        print(
            f"{name:32} {result['seconds']:9.3f} {memory:>9}   width {numbers[2]}, {numbers[3]} blocks, {n_batch} of "
            f"{numbers[0]}x{numbers[0]} a step, {result['data']}; aim: at most {bound} GiB, {met}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(prog="run.py bench", description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="dcgan|dense|cyclegan", help="which to measure (all)")
    parser.add_argument("--quick", action="store_true", help="tiny networks: shows that it works, measures nothing")
    options = parser.parse_args()
    kinds = options.kinds or [*WORKLOADS, "cyclegan"]
    if unknown := set(kinds) - {*WORKLOADS, "cyclegan"}:
        parser.error(f"there is no {', '.join(sorted(unknown))}: choose among dcgan, dense and cyclegan")
    print(f"Keras {keras.__version__}, TensorFlow {tf.__version__}; {os.cpu_count()} CPU cores; median of warm steps")
    for kind in kinds:
        bench_cyclegan(options.quick) if kind == "cyclegan" else bench(kind, options.quick)


if __name__ == "__main__":
    main()
