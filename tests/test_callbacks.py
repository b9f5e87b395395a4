import io
import re
import sys

import keras
import numpy as np
import pytest
from models import a_model, constant_step, make_cyclegan, make_domains

from keras_gen import loop, train_cyclegan
from keras_gen.callbacks import PrintProgress, clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


def screen(text):
    """What is left on the screen: a carriage return goes back to the line's beginning, what is written there stays."""
    lines = []
    for line in text.split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def printed(monkeypatch, stdout, verbose, n_epochs=25, n_steps=3, seconds=1.0, logs=None):
    """All that a training writes whose steps take one second each by the clock of the test."""
    ticks = iter(range(10_000))
    monkeypatch.setattr("time.perf_counter", lambda: seconds * next(ticks))
    monkeypatch.setattr(sys, "stdout", stdout)
    loop(lambda: dict(logs or {"g_loss": 0.25}), a_model(), [], n_epochs, n_steps, verbose=verbose)
    return stdout.getvalue()


@pytest.mark.parametrize(("verbose", "n_lines"), [("auto", 9), (0, 0), (1, 9), (2, 25)])
def test_lines_that_stay(monkeypatch, verbose, n_lines):
    for stdout in (io.StringIO(), Terminal()):
        lines = [line for line in screen(printed(monkeypatch, stdout, verbose)) if line]
        assert len(lines) == n_lines
        if n_lines:
            assert "25/25" in lines[-1] and "g_loss=0.250" in lines[-1]
        if n_lines == 9:
            assert [int(re.search(r"\d+", line)[0]) for line in lines] == [3, 6, 9, 12, 15, 18, 21, 24, 25]


def test_the_line_in_place_tells_where_it_is_and_how_long_it_takes(monkeypatch):
    text = printed(monkeypatch, Terminal(), "auto", n_epochs=2, n_steps=4)
    places = [part.strip() for part in re.split("[\r\n]", text) if part.strip()]
    # One second a step, of which the first is not counted: it compiles. What is left of the epoch, and in all.
    left = [re.findall(r"\d+:\d\d", place) for place in places]
    assert left[:3] == [["0:02", "0:06"], ["0:01", "0:05"], ["0:00", "0:04"]] and left[4] == ["0:03", "0:03"]
    assert "1/2" in places[0] and "2/4" in places[0] and "g_loss=0.250" in places[3]
    assert screen(text) == [places[3], places[-1], ""]


@pytest.mark.parametrize(("stdout", "verbose"), [(io.StringIO, "auto"), (Terminal, 2), (io.StringIO, 2)])
def test_no_line_in_place_where_it_would_land_in_a_file(monkeypatch, stdout, verbose):
    assert "\r" not in printed(monkeypatch, stdout(), verbose)


def test_a_notebooks_output_is_overwritten_too(monkeypatch):
    kernel = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    assert "\r" in printed(monkeypatch, kernel(), "auto") and "\r" in printed(monkeypatch, io.StringIO(), 1)


def test_short_epochs_flicker_not(monkeypatch):
    assert "\r" not in printed(monkeypatch, Terminal(), 1, n_epochs=3, n_steps=4, seconds=0.01)
    text = printed(monkeypatch, Terminal(), 1, n_epochs=1, n_steps=40, seconds=0.2)
    assert 10 < text.count("left") < 16  # two a second at most, of 8 seconds


def test_many_losses_make_one_line_with_the_sums_first(monkeypatch):
    names = [
        f"g_{direction}_{part}" for direction in ("AtoB", "BtoA") for part in ("identity", "forward_cycle", "loss")
    ]
    (line,) = printed(
        monkeypatch, io.StringIO(), "auto", 1, logs=dict.fromkeys([*names, "d_loss_real", "acc"], 0.5)
    ).splitlines()
    assert len(line) <= 120 and line.endswith("...")
    sums, others = ["d_loss_real", "g_AtoB_loss", "g_BtoA_loss"], ["acc", "g_AtoB_identity"]
    assert re.findall(r"(\w+)=", line)[:5] == sums + others


def test_an_interrupted_line_does_not_stay(monkeypatch):
    calls = iter(range(10))

    def step():
        if next(calls) == 3:
            raise KeyboardInterrupt
        return {"loss": 1.0}

    ticks = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    monkeypatch.setattr(sys, "stdout", stdout := Terminal())
    with pytest.raises(KeyboardInterrupt):
        loop(step, a_model(), [], 1, 9)
    assert "step 3/9" in stdout.getvalue() and screen(stdout.getvalue()) == [""]


def test_the_last_line_of_a_training_that_was_stopped_is_printed(monkeypatch):
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    monkeypatch.setattr(sys, "stdout", stdout := io.StringIO())
    loop(constant_step, a_model(), [], 50, 2, Stop())
    assert stdout.getvalue() == ">epoch 1/50  loss=1.000\n"


def test_clock():
    assert [clock(seconds) for seconds in (0, 59.6, 187, 3599, 3787)] == ["0:00", "1:00", "3:07", "59:59", "1:03:07"]


def test_progress_is_a_callback_of_its_own(capsys):
    """In `fit` too, in place of its bar."""
    model = a_model()
    model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=20, verbose=0, callbacks=[PrintProgress()])
    assert capsys.readouterr().out.count(">epoch") == 10


def test_a_loss_that_is_not_finite_stops_the_training_and_is_named(capsys):
    losses = iter([1.0, 1.0, 1.0, float("nan"), 1.0])
    history = loop(lambda: {"d_loss": 1.0, "g_loss": next(losses)}, a_model(), [], 9, 2, verbose=0)
    assert history.epoch == [0, 1]
    assert capsys.readouterr().out.startswith("Stopped in epoch 2, batch 2: g_loss is not a finite number. ")


def test_progress_where_nobody_knows_how_many_steps_there_are(monkeypatch):
    """`fit` of a generator."""
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr("time.perf_counter", lambda: 0.0)
    progress = PrintProgress()
    progress.set_params({"verbose": 1, "epochs": 1, "steps": None})
    progress.set_model(a_model())
    progress.on_train_begin()
    progress.on_epoch_begin(0)
    for batch, now in enumerate((1.0, 2.0, 3.0)):
        monkeypatch.setattr("time.perf_counter", lambda now=now: now)
        progress.on_train_batch_end(batch)
    progress.on_epoch_end(0, {"loss": 1.0})
    assert "loss=1.000" in stdout.getvalue()


def test_learning_rates_fall_over_the_second_half(no_training):
    class Rates(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append([float(keras.ops.convert_to_numpy(models[i].optimizer.learning_rate)) for i in (0, 1, 4, 5)])

    rates, models = [], make_cyclegan()
    models[0].optimizer.learning_rate = 4e-3
    domains, full = make_domains(1, 1), np.array([4e-3, 1e-3, 2e-4, 2e-4])
    for initial_epoch in (0, 4):  # the second time as a run that goes on
        train_cyclegan(*models, domains, n_epochs=6, callbacks=[Rates()], initial_epoch=initial_epoch)
    assert np.allclose(rates, np.outer([1, 1, 1, 1, 2 / 3, 1 / 3, 2 / 3, 1 / 3], full), rtol=1e-5)
    models[0].optimizer.learning_rate = 0.0
    rates.clear()
    train_cyclegan(*models, domains, n_epochs=1, callbacks=[Rates()])
    assert np.allclose(rates, [[0, *full[1:]]])


def test_interrupted(no_training):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    models = make_cyclegan()
    with pytest.raises(KeyboardInterrupt):
        train_cyclegan(*models, make_domains(), n_epochs=4, callbacks=[Interrupt()], initial_epoch=3)
    assert all(network.trainable for network in models[:4])
    assert float(keras.ops.convert_to_numpy(models[4].optimizer.learning_rate)) == pytest.approx(2e-4)
