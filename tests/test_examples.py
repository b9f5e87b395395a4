"""The examples; that of two machines as two processes on this one: run as a script, this file is one of those."""

import importlib.util
import os
import re
import runpy
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gen as kg

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = runpy.run_path(str(ROOT / "examples" / "two_machines.py"))
N_IMAGES, BATCH, WIDTH = 64, 16, 4
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")


def record(path):
    """Run the example on images of noise, without dropout; write down what its networks saw, lost and became."""
    images = np.random.default_rng(0).uniform(-1, 1, (N_IMAGES, 32, 32, 3)).astype("float32")
    kg.load_real_samples = lambda name: images
    models, seen, losses, original = {}, {}, [], keras.Model.train_on_batch

    def write_down(model, when):
        seen.update({f"{model.name}_{when}_{i}": weight for i, weight in enumerate(model.get_weights())})

    def spy(model, x, y=None, **options):
        if model.name not in models:
            models[model.name] = model
            write_down(model, "before")
            if model.name == "discriminator":
                dropout_of(model).rate = 0
        logs = original(model, x, y, **options)
        seen[f"x_{len(losses)}"] = x
        losses.append(logs["loss"])
        return logs

    keras.Model.train_on_batch = spy
    EXAMPLE["main"]()
    for model in models.values():
        write_down(model, "after")
    n_replicas = keras.distribution.distribution().num_model_replicas
    np.savez(path, losses=losses, n_replicas=n_replicas, **seen)


def dropout_of(d_model):
    (layer,) = (layer for layer in d_model.layers if isinstance(layer, keras.layers.Dropout))
    return layer


def run_together(folder, *commands, timeout=600, code=0):
    """Run this file as several processes at once, which all end with `code`; returns what each printed.

    None of them outlives the test.
    """
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    logs, processes, end = [], [], time.monotonic() + timeout
    try:
        for i, (n_devices, *arguments) in enumerate(commands):
            # The first flag halves the time that compiling takes, most of what such small networks take.
            flags = f"--xla_backend_optimization_level=0 --xla_force_host_platform_device_count={n_devices}"
            logs.append(folder / f"{i}.log")
            with open(logs[i], "wb") as log:
                command = [sys.executable, __file__, *map(str, arguments)]
                options = {"cwd": folder, "env": environment | {"XLA_FLAGS": flags}, "stderr": subprocess.STDOUT}
                processes.append(subprocess.Popen(command, stdout=log, **options))
        codes = [None]
        while (
            None in codes and (code or not any(codes)) and time.monotonic() < end
        ):  # one that fails leaves the others waiting
            time.sleep(0.1)
            codes = [process.poll() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    printed = [log.read_text(encoding="utf-8", errors="replace") for log in logs]
    assert codes == [code] * len(commands), f"ended with {codes} (None: killed)\n" + "\n".join(
        p[-3000:] for p in printed
    )
    return printed


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def arrays(file, start):
    return [file[name] for name in file if name.startswith(start)]


def same(some, others):
    return len(some) == len(others) > 0 and all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


def check_alone(*recorded):
    """One process on one device, from the same weights, learns the same from all batches; returns its three models."""
    g_model, d_model = EXAMPLE["define_generator"](WIDTH), EXAMPLE["define_discriminator"](WIDTH)
    gan_model = kg.define_gan(g_model, d_model)
    dropout_of(d_model).rate = 0
    gan_model.set_weights(arrays(recorded[0], "gan_before"))
    d_model.set_weights(arrays(recorded[0], "discriminator_before"))
    losses = []
    for i in range(len(recorded[0]["losses"])):
        x = np.concatenate([file[f"x_{i}"] for file in recorded])
        network, model = (g_model, gan_model) if i % 3 == 2 else (d_model, d_model)
        y = np.full((len(x), 1), float(i % 3 != 1))  # every second of three is a batch of fakes
        losses.append(kg.train_only(network, (g_model, d_model), model, x, y)["loss"])
    np.testing.assert_allclose(recorded[0]["losses"], losses, rtol=1e-5)
    before, after = (arrays(recorded[0], f"gan_{when}") for when in ("before", "after"))
    for old, new, alone in zip(before, after, gan_model.get_weights(), strict=True):
        assert np.abs(new - alone).mean() <= 0.05 * np.abs(new - old).mean()
    return g_model, d_model, gan_model


@needs_jax
@pytest.mark.skipif(sys.platform == "win32", reason="on Windows JAX has no collectives between CPUs")
def test_two_processes_do_what_one_does_with_the_batches_of_both(tmp_path):
    address = free_address()
    numbers = ["--epochs", 1, "--width", WIDTH, "--batch", BATCH]
    commands = [(1, i, f"{address},{address}", i, *numbers, "--run", tmp_path / f"run_{i}") for i in range(2)]
    printed = run_together(tmp_path, *commands)
    assert [text.count(">epoch 1/1") for text in printed] == [1, 0]

    # Equal weights and losses to the bit, from batches that each drew for itself: real images, fakes, latent points.
    first, second = (np.load(tmp_path / f"{i}.npz") for i in range(2))
    assert first["n_replicas"] == second["n_replicas"] == 2
    assert np.array_equal(first["losses"], second["losses"])
    for name in ("discriminator", "gan"):
        assert same(arrays(first, f"{name}_after"), arrays(second, f"{name}_after"))
        assert not same(arrays(first, f"{name}_before"), arrays(first, f"{name}_after"))
    n_calls = len(first["losses"])
    assert n_calls == 3 * (N_IMAGES // 2 // BATCH)
    for i in range(n_calls):
        assert first[f"x_{i}"].shape == second[f"x_{i}"].shape
        assert {row.tobytes() for row in first[f"x_{i}"]}.isdisjoint(row.tobytes() for row in second[f"x_{i}"])

    g_model, d_model, gan_model = check_alone(first, second)

    # What the first process saved, and it alone, another goes on with.
    assert os.listdir(tmp_path / "run_1") == []
    assert sorted(os.listdir(tmp_path / "run_0")) == ["epoch-00001.npz", "film.gif"]
    save = kg.SaveRun(tmp_path / "run_0", {g_model: gan_model, d_model: d_model})
    assert save.restore() == 1
    assert same(gan_model.get_weights(), arrays(first, "gan_after"))
    assert same(d_model.get_weights(), arrays(first, "discriminator_after"))
    images = np.random.default_rng(1).uniform(-1, 1, (BATCH, 32, 32, 3)).astype("float32")
    history = kg.train(g_model, d_model, gan_model, images, EXAMPLE["LATENT_DIM"], 2, BATCH, [save], initial_epoch=1)
    assert history.epoch == [0, 1]
    assert sorted(os.listdir(tmp_path / "run_0")) == ["epoch-00002.npz", "film.gif"]

    # Where it was not copied to the second machine, or an argument is another one there, both say so. Else they would
    # train on, and wait for each other at the end.
    commands = [(*command, "--batch", 8 + i) for i, command in enumerate(commands)]
    saves = ["the last save is ('epoch-00002.npz', ", "the last save is None here"]
    for i, text in enumerate(run_together(tmp_path, *commands, code=1)):
        assert f"batch is {8 + i} here" in text and saves[i] in text
        assert "epochs is" not in text and "width is" not in text


@pytest.fixture
def joined(monkeypatch):
    """With what `join` would have made one of all processes."""
    calls = []
    monkeypatch.setattr(keras.distribution, "initialize", lambda *arguments: calls.append(arguments))
    return calls


def join(addresses, index):
    EXAMPLE["join"](addresses, index)


@pytest.mark.parametrize(
    ("addresses", "index", "words"),
    [
        ("127.0.0.1:1234", 0, "One address"),
        ("127.0.0.1,127.0.0.1:1234", 0, "'127.0.0.1' is no address"),
        ("127.0.0.1:1234,127.0.0.1", 1, "'127.0.0.1' is no address"),
        (":1234,127.0.0.1:1234", 0, "':1234' is no address"),
        ("127.0.0.1:99999,127.0.0.1:1234", 0, "'127.0.0.1:99999' is no address"),
        ("127.0.0.1:0,127.0.0.1:1234", 0, "'127.0.0.1:0' is no address"),
        ("127.0.0.1:http,127.0.0.1:1234", 1, "is no address"),
        ("127.0.0.1:1234,127.0.0.1:1234", 2, "no process 2"),
        ("127.0.0.1:1234,127.0.0.1:1234", -1, "no process -1"),
        ("nowhere.invalid:1234,127.0.0.1:1234", 1, "no host 'nowhere.invalid'"),
        ("two..dots:1234,127.0.0.1:1234", 1, "no host 'two..dots'"),
    ],
)
def test_wrong_addresses_are_refused(joined, addresses, index, words):
    with pytest.raises(SystemExit, match=re.escape(words)):
        join(addresses, index)
    assert joined == []


def test_a_port_that_another_program_has_is_named(joined):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port} .*another one"):
            join(f"127.0.0.1:{port},second:{port}", 0)
    assert joined == []


def test_the_first_process_says_whom_it_waits_for(joined, capsys):
    addresses = f"{free_address()},second:1,third:2"
    join(addresses, 0)
    assert joined == [(addresses, 3, 0)] and "for second:1, third:2 " in capsys.readouterr().out


def test_the_others_wait_for_the_first(joined, capsys, monkeypatch):
    address = free_address()
    monkeypatch.setitem(EXAMPLE["wait_for"].__globals__, "PATIENCE", 0)
    with pytest.raises(SystemExit, match=f"Nobody answers at {address}"):
        join(f"{address},second:1", 1)
    assert joined == [] and address in capsys.readouterr().out
    monkeypatch.setitem(EXAMPLE["wait_for"].__globals__, "PATIENCE", 60)

    def first():
        time.sleep(1)
        host, port = address.split(":")
        listening.append(socket.create_server((host, int(port))))

    listening = []
    thread = threading.Thread(target=first)
    thread.start()
    join(f"{address},second:1", 1)
    assert joined == [(f"{address},second:1", 2, 1)] and listening
    thread.join()
    listening[0].close()


@needs_jax
def test_two_devices_of_one_process_do_what_one_does(tmp_path):
    run_together(tmp_path, (2, 0, "--epochs", 1, "--width", WIDTH, "--batch", BATCH))
    recorded = np.load(tmp_path / "0.npz")
    assert recorded["n_replicas"] == 2 and len(recorded["losses"]) == 3 * (N_IMAGES // BATCH)
    check_alone(recorded)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX is what it asks for")
def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["two_machines.py"])
    with pytest.raises(SystemExit, match="set KERAS_BACKEND=jax"):
        EXAMPLE["main"]()


@pytest.mark.every_backend
def test_a_system_of_ones_own_trains_stops_and_goes_on(tmp_path, monkeypatch):
    example = runpy.run_path(str(ROOT / "examples" / "hinge_gan.py"))
    images = np.random.default_rng(0).uniform(-1, 1, (130, 32, 32, 3)).astype("float32")
    monkeypatch.setattr(kg, "load_real_samples", lambda name: images)
    arguments = ["--folder", str(tmp_path / "run")]
    history = example["main"]([*arguments, "--epochs", "1"])
    assert history.epoch == [0] and set(history.history) == {"d_loss_real", "d_loss_fake", "g_loss"}
    assert example["main"]([*arguments, "--epochs", "2"]).epoch == [0, 1]
    assert (tmp_path / "run/epoch-00002.npz").is_file() and (tmp_path / "run/film.gif").is_file()


if __name__ == "__main__":
    _, name, *sys.argv[1:] = sys.argv
    record(f"{name}.npz")
