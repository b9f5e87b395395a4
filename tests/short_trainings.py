"""Trainings of trainings/ in a few steps on few images, and what the tests of all of them ask."""

import keras
import numpy as np
import pytest

import keras_gen as kg


def moved(network, before):
    return max(np.abs(now - was).max() for now, was in zip(network.get_weights(), before, strict=True))


def is_kept(name, weights):
    """Whether the file holds these weights, as float16."""
    kept = kg.load_pretrained(name).get_weights()
    return all(np.array_equal(ours, weight.astype("float16")) for ours, weight in zip(kept, weights, strict=True))


def set_all(monkeypatch, training, **constants):
    for name, value in constants.items():
        monkeypatch.setattr(training, name, value)


def random_photographs(n_train=20, n_test=80):
    """In CIFAR-10's place."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (n_train + n_test, 32, 32, 3), "uint8")
    y = np.arange(n_train + n_test) % 10
    return (x[:n_train], y[:n_train]), (x[n_train:], y[n_train:])


def train_watched(training, runs, monkeypatch):
    """Train to the end: weights, batches and rates on the way.

    Returns the weights of the generator, or of the only network, after each of its steps; of each step the model's
    name, x and y; the last rate of each model.
    """
    latest, given, rates, original = [], [], {}, kg.train_only

    def spied(network, networks, model, x, y):
        logs = original(network, networks, model, x, y)
        given.append((model.name, x, y))
        rates[model.name] = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
        if network.name == "generator" or len(networks) == 1:
            latest.append([keras.ops.convert_to_numpy(weight).copy() for weight in network.trainable_variables])
        return logs

    with monkeypatch.context() as patch:
        patch.setattr(kg, "train_only", spied)
        patch.setattr(training, "RUNS", runs)
        training.train()
    return latest, given, rates


def stop_and_go_on(training, runs, monkeypatch, at_call):
    """Train until Ctrl-C comes in the second epoch, in call number `at_call` of `train_only`; then to the end."""
    monkeypatch.setattr(training, "RUNS", runs)
    with monkeypatch.context() as patch:
        calls, original = [], kg.train_only

        def stopped(*args):
            calls.append(args)
            if len(calls) == at_call:
                raise KeyboardInterrupt
            return original(*args)

        patch.setattr(kg, "train_only", stopped)
        with pytest.raises(KeyboardInterrupt):
            training.train()
    assert [path.name for path in runs.glob("*/*")] == ["epoch-00001.npz"]
    keras.backend.clear_session()  # as in a process of its own
    training.train()


def assert_same_saves(one, other):
    """All that a run was saved with is the same in both folders: weights, averages, moments, random numbers, curves.

    Floats to a few roundings: threads add up a gradient in any order, and now and then its last bit differs.
    """
    (one,), (other,) = one.glob("*/*"), other.glob("*/*")
    assert one.name == other.name
    with np.load(one) as ours, np.load(other) as theirs:
        assert set(ours) == set(theirs) and len(ours.files) > 10
        for name in ours:
            if ours[name].dtype.kind == "f":
                np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-9, err_msg=name)
            else:
                np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
