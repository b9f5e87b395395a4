import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from models import (
    LATENT_DIM,
    define_discriminator,
    define_generator,
    equal,
    make_cyclegan,
    make_dataset,
    make_domains,
    make_gan,
    weights,
)

from keras_gen import ImagePool, SaveRun, define_vae, loop, train, train_cyclegan


def players(models):
    """All networks, each with the model through which it learns."""
    if len(models) == 3:
        g_model, d_model, gan_model = models
        return {g_model: gan_model, d_model: d_model}
    d_A, d_B, g_AtoB, g_BtoA, c_AtoB, c_BtoA = models
    return {d_A: d_A, d_B: d_B, g_AtoB: c_AtoB, g_BtoA: c_BtoA}


def run(folder, n_epochs, callbacks=(), seed=0, **options):
    """Build a GAN, go on where the folder's save ends, and train it."""
    keras.utils.set_random_seed(seed)
    models = make_gan(batchnorm=True)
    save = SaveRun(folder, players(models), **options)
    initial_epoch = save.restore()
    history = train(*models, make_dataset(), LATENT_DIM, n_epochs, 32, [save, *callbacks], initial_epoch, verbose=0)
    return models, history


def state(models):
    """All numbers that a training moves: weights, moments of BatchNormalization, random layers, optimizers, pools."""
    variables = {id(variable): variable for model in models for variable in model.variables}
    variables |= {id(v): v for model in models if model.compiled for v in model.optimizer.variables}
    numbers = [keras.ops.convert_to_numpy(variable) for variable in variables.values()]
    return numbers + [np.array(model.pool.images) for model in models if hasattr(model, "pool")]


def saves(folder):
    return sorted(os.listdir(folder))


class StopAfter(keras.callbacks.Callback):
    def __init__(self, n_epochs):
        super().__init__()
        self.n_epochs = n_epochs

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch + 1 == self.n_epochs


@pytest.mark.every_backend
def test_going_on_in_a_new_process_is_as_if_it_had_never_stopped(tmp_path):
    straight, history = run(tmp_path / "straight", 4)
    run(tmp_path / "stopped", 2)
    code = f"from test_runs import run; run({str(tmp_path / 'stopped')!r}, 4, seed=7)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)
    models, again = run(tmp_path / "stopped", 4, seed=8)  # all epochs are done: it is restored, and nothing is trained
    assert equal(state(models), state(straight))
    assert again.epoch == history.epoch == [0, 1, 2, 3] and again.history == history.history


@pytest.mark.every_backend
def test_a_cyclegan_goes_on_as_if_it_had_never_stopped(tmp_path):
    """Stopped where the learning rate has begun to fall and the pools are full."""

    def run_cyclegan(folder, seed, callbacks=()):
        keras.utils.set_random_seed(seed)
        models = make_cyclegan()
        models[4].pool, models[5].pool = ImagePool(3), ImagePool(2 if seed == 0 else 9)
        save = SaveRun(folder, players(models))
        initial_epoch = save.restore()
        restored = state(models)
        frozen = [layer.name for network in models[:4] for layer in (network, *network.layers) if not layer.trainable]
        assert not (initial_epoch and frozen)
        callbacks = [save, *callbacks]
        history = train_cyclegan(*models, make_domains(2, 2), 4, 1, callbacks, initial_epoch, verbose=0)
        return models, history, initial_epoch, restored

    straight, history, _, _ = run_cyclegan(tmp_path / "straight", seed=0)
    stopped, _, _, _ = run_cyclegan(tmp_path / "stopped", 0, [StopAfter(3)])
    resumed, again, epoch, restored = run_cyclegan(tmp_path / "stopped", seed=7)
    assert epoch == 3 and equal(restored, state(stopped))
    assert equal(state(resumed), state(straight)) and not equal(state(resumed), restored)
    assert (resumed[4].pool.size, resumed[5].pool.size) == (3, 2) and len(resumed[5].pool.images) == 2
    assert again.history == history.history and again.epoch == [0, 1, 2, 3]


@pytest.mark.every_backend
def test_a_system_of_ones_own_with_a_loss_that_no_file_could_hold(tmp_path):
    """Two networks learn through one composite; a lambda is the loss, a Lambda layer is in it."""

    def build():
        point = keras.Input((2,))
        g = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)], name="g")
        q = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: 2 * x), keras.layers.Dense(1)], name="q")
        composite = keras.Model(point, q(g(point)))
        composite.compile(keras.optimizers.Adam(0.1), loss=lambda y, y_hat: keras.ops.abs(y - y_hat))
        return g, q, composite

    def train_it(folder, n_epochs):
        g, q, composite = build()
        save = SaveRun(folder, {g: composite, q: composite})

        def step():
            z = np.random.standard_normal((4, 2))
            return composite.train_on_batch(z, z[:, :1], return_dict=True)

        loop(step, composite, [g, q], n_epochs, 3, save, save.restore(), verbose=0)
        return g, q, composite

    keras.utils.set_random_seed(0)
    straight = train_it(tmp_path / "straight", 3)
    keras.utils.set_random_seed(0)
    train_it(tmp_path / "stopped", 1)
    keras.utils.set_random_seed(1)
    assert equal(state(train_it(tmp_path / "stopped", 3)), state(straight))


@pytest.mark.every_backend
def test_fit_can_be_saved_too(tmp_path):
    x = np.random.default_rng(0).uniform(0, 1, (64, 6)).astype("float32")

    def fit(folder, n_epochs):
        image, z = keras.Input((6,)), keras.Input((2,))
        encoder = keras.Model(image, [keras.layers.Dense(2)(image), keras.layers.Dense(2)(image)])
        vae = define_vae(encoder, keras.Model(z, keras.layers.Dense(6, activation="sigmoid")(z)))
        save = SaveRun(folder, {vae: vae})
        vae.fit(x, x, epochs=n_epochs, initial_epoch=save.restore(), callbacks=[save], verbose=0, shuffle=False)
        return [vae]

    keras.utils.set_random_seed(0)
    straight = fit(tmp_path / "straight", 4)
    keras.utils.set_random_seed(0)
    fit(tmp_path / "stopped", 2)
    keras.utils.set_random_seed(5)
    assert equal(state(fit(tmp_path / "stopped", 4)), state(straight))


# ---- nothing is lost ----


def test_only_the_last_save_stays_and_other_files_are_left_alone(tmp_path):
    for name in ("epoch-notes.txt", "epoch-00009.npz.part", "xepoch-00007.npz"):
        (tmp_path / name).write_text("mine")
    run(tmp_path, 3)
    assert saves(tmp_path) == ["epoch-00003.npz", "epoch-00009.npz.part", "epoch-notes.txt", "xepoch-00007.npz"]


def test_a_new_run_does_not_replace_an_older_one(tmp_path):
    run(tmp_path, 3)
    models = make_gan(batchnorm=True)
    for epoch in (0, 2):
        before = weights(models[0])
        with pytest.raises(ValueError, match=rf"a save of 3 epochs, .* from epoch {epoch} on, .*restore\(\)"):
            train(*models, make_dataset(), LATENT_DIM, 5, 32, SaveRun(tmp_path, players(models)), epoch, verbose=0)
        assert equal(before, weights(models[0])) and models[1].trainable
    assert saves(tmp_path) == ["epoch-00003.npz"]
    save = SaveRun(tmp_path, players(models))
    assert save.restore() == 3
    with pytest.raises(ValueError, match="restore"):  # forgotten to hand on
        train(*models, make_dataset(), LATENT_DIM, 5, 32, save, verbose=0)
    train(*models, make_dataset(), LATENT_DIM, 4, 32, save, 3, verbose=0)
    assert saves(tmp_path) == ["epoch-00004.npz"]


def test_a_save_of_somebody_else_stays(tmp_path):
    """Only what was restored, or written, is replaced by the next save."""
    run(tmp_path, 2)
    (tmp_path / "epoch-00001.npz").write_bytes(b"kept by hand")
    run(tmp_path, 3)
    assert saves(tmp_path) == ["epoch-00001.npz", "epoch-00003.npz"]
    models = make_gan()  # that are not restored, but go on where other ones were
    train(*models, make_dataset(), LATENT_DIM, 4, 32, SaveRun(tmp_path, players(models)), 3, verbose=0)
    assert saves(tmp_path) == ["epoch-00001.npz", "epoch-00003.npz", "epoch-00004.npz"]


def test_the_same_callback_in_two_trainings(tmp_path):
    models = make_gan()
    save = SaveRun(tmp_path, players(models))
    train(*models, make_dataset(), LATENT_DIM, 1, 32, save, verbose=0)
    train(*models, make_dataset(), LATENT_DIM, 2, 32, save, 1, verbose=0)
    assert saves(tmp_path) == ["epoch-00002.npz"]


def test_an_epoch_that_is_saved_again_is_there(tmp_path):
    """The first save was put aside by hand, and the same callback trains from the beginning once more."""
    models = make_gan()
    save = SaveRun(tmp_path, players(models))
    train(*models, make_dataset(), LATENT_DIM, 1, 32, save, verbose=0)
    (tmp_path / "epoch-00001.npz").rename(tmp_path / "first.npz")
    train(*models, make_dataset(), LATENT_DIM, 1, 32, save, verbose=0)
    assert saves(tmp_path) == ["epoch-00001.npz", "first.npz"]


@pytest.mark.parametrize(("n_epochs", "every", "last"), [(5, 2, 5), (3, 5, 3), (4, 2, 4)])
def test_every_few_epochs_and_the_last(tmp_path, n_epochs, every, last):
    seen = []
    look = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(saves(tmp_path)))
    run(tmp_path, n_epochs, [look], every=every)
    number = [epoch // every * every for epoch in range(n_epochs)]
    assert seen == [[f"epoch-{n:05d}.npz"] if n else [] for n in number]
    assert saves(tmp_path) == [f"epoch-{last:05d}.npz"]


@pytest.mark.parametrize("how", ["early stopping", pytest.param("Ctrl-C", marks=pytest.mark.every_backend), "an error"])
def test_the_last_whole_epoch_is_saved_however_the_run_ends(tmp_path, how):
    """Ctrl-C in the middle of the fourth epoch: the save is of three, and going on from it is as if never stopped."""

    class End(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            if (self.epoch, batch) == (3, 1) and how != "early stopping":
                raise KeyboardInterrupt if how == "Ctrl-C" else RuntimeError

    callbacks = [StopAfter(3)] if how == "early stopping" else [End()]
    try:
        run(tmp_path / "stopped", 5, callbacks, every=10)
    except (KeyboardInterrupt, RuntimeError):
        assert how != "early stopping"
    assert saves(tmp_path / "stopped") == ["epoch-00003.npz"]
    models, history = run(tmp_path / "stopped", 5, seed=1, every=10)
    straight, whole = run(tmp_path / "straight", 5)
    assert equal(state(models), state(straight)) and history.history == whole.history


def test_weights_that_are_not_finite_are_not_saved(tmp_path, capsys):
    """The losses of the last step are computed before its update: they are fine."""
    models = make_gan()

    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.last and batch == 3:
                models[0].layers[-1].bias.assign([np.nan])

        def on_epoch_begin(self, epoch, logs=None):
            self.last = epoch == 2

    save = SaveRun(tmp_path, players(models))
    history = train(*models, make_dataset(), LATENT_DIM, 3, 32, [Break(), save], verbose=0)
    assert np.isfinite(list(history.history.values())).all()
    assert "Epoch 3 is not saved: 1 arrays hold numbers that are not finite." in capsys.readouterr().out
    assert saves(tmp_path) == ["epoch-00002.npz"]
    assert save.restore() == 2 and all(np.isfinite(weight).all() for weight in weights(models[0]))


def test_a_training_that_diverges_keeps_the_last_good_save(tmp_path, capsys):
    models = make_gan()

    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                models[2].optimizer.learning_rate = float("nan")

    history = train(
        *models, make_dataset(), LATENT_DIM, 6, 32, [Break(), SaveRun(tmp_path, players(models))], verbose=0
    )
    assert history.epoch == [0, 1, 2] and saves(tmp_path) == ["epoch-00002.npz"]
    assert "Stopped in epoch 3, batch 2: " in capsys.readouterr().out


KILLED = """
import os, sys, time
import keras_gen.runs as module
from test_runs import run

# The process stops for good where the test kills it: at the n-th of the calls by which a save touches the disk.
calls, stop_at = [], int(sys.argv[2])

def stopping(name, call):
    def wrapped(*args, **kwargs):
        if sys._getframe(1).f_code.co_name == "_write":
            calls.append(name)
            if len(calls) == stop_at:
                if name == "savez":
                    args[0].write(b"half a file")
                    args[0].flush()
                print("at", name, flush=True)
                time.sleep(600)
        return call(*args, **kwargs)
    return wrapped

module.np.savez = stopping("savez", module.np.savez)
module.os.replace = stopping("replace", module.os.replace)
module.os.remove = stopping("remove", module.os.remove)
run(sys.argv[1], 3)
print("done", flush=True)
"""


@pytest.mark.parametrize(
    ("stop_at", "where", "left", "epoch"),
    [
        (1, "savez", ["epoch-00001.npz.part"], 0),
        (2, "replace", ["epoch-00001.npz.part"], 0),
        (3, "savez", ["epoch-00001.npz", "epoch-00002.npz.part"], 1),
        (4, "replace", ["epoch-00001.npz", "epoch-00002.npz.part"], 1),
        (5, "remove", ["epoch-00001.npz", "epoch-00002.npz"], 2),
        (6, "savez", ["epoch-00002.npz", "epoch-00003.npz.part"], 2),
    ],
)
def test_killed_at_every_step_of_a_save(tmp_path, stop_at, where, left, epoch):
    """Before each call that touches the disk: what was saved is whole, and the run goes on as if never killed."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(stop_at)]
    process = subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True)
    try:
        assert next(line for line in process.stdout if line.startswith(("at", "done"))) == f"at {where}\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert [re.sub(r"npz\.\d+\.part", "npz.part", name) for name in saves(tmp_path)] == left
    models = make_gan(batchnorm=True)
    assert SaveRun(tmp_path, players(models)).restore() == epoch
    if stop_at in (3, 5):
        resumed, _ = run(tmp_path, 3, seed=4)
        straight, _ = run(tmp_path / "straight", 3)
        assert equal(state(resumed), state(straight))
        assert [name for name in saves(tmp_path) if "epoch-00003" in name] == ["epoch-00003.npz"]


# ---- what is refused ----


def test_models_that_are_not_those_of_the_save(tmp_path):
    run(tmp_path / "gan", 1)
    for other in (make_gan(), make_gan(n_classes=3)):
        with pytest.raises(
            ValueError, match=r"saved with other models.*generator, discriminator, in all \d.*given are"
        ):
            SaveRun(tmp_path / "gan", players(other)).restore()

    def cyclegan(order):
        models = make_cyclegan()
        networks = players(models)
        return models, SaveRun(
            tmp_path / "cyclegan", {network: networks[network] for network in np.array(models[:4])[order]}
        )

    models, save = cyclegan([0, 1, 2, 3])
    train_cyclegan(*models, make_domains(1, 1), 1, callbacks=save, verbose=0)
    with pytest.raises(ValueError, match="in another order: d_A, d_B, g_AtoB, g_BtoA"):
        cyclegan([1, 0, 2, 3])[1].restore()  # of one shape: nothing but the names tells them apart
    assert cyclegan([0, 1, 2, 3])[1].restore() == 1


def test_names_that_keras_made_up_may_differ(tmp_path):
    def build():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", loss="mse")
        return model

    model = build()
    loop(lambda: model.train_on_batch(np.ones((1, 2)), np.ones((1, 1)), return_dict=True), model, [model], 1, 1,
         SaveRun(tmp_path, {model: model}), verbose=0)  # fmt: skip
    other = build()
    assert other.name != model.name and SaveRun(tmp_path, {other: other}).restore() == 1
    assert equal(weights(other), weights(model))


def test_the_newest_of_several_saves_is_taken(tmp_path):
    run(tmp_path, 2)
    second = (tmp_path / "epoch-00002.npz").read_bytes()
    run(tmp_path, 10)
    (tmp_path / "epoch-00002.npz").write_bytes(second)
    assert SaveRun(tmp_path, players(make_gan(batchnorm=True))).restore() == 10


def test_a_damaged_save_is_named(tmp_path):
    run(tmp_path, 1)
    path = tmp_path / "epoch-00001.npz"
    whole = path.read_bytes()
    for damage in (lambda: path.write_bytes(whole[:2000]), lambda: path.write_bytes(b""), lambda: np.savez(path, x=1)):
        damage()
        with pytest.raises(ValueError, match=r"epoch-00001.npz is damaged .*Delete it"):
            SaveRun(tmp_path, players(make_gan(batchnorm=True))).restore()


def test_arguments_that_make_no_saver(tmp_path):
    g_model, d_model, gan_model = make_gan()
    for models in ([g_model, d_model, gan_model], {g_model: gan_model, d_model: define_generator()}, g_model):
        with pytest.raises(ValueError, match="a dict of all networks, each with the compiled model"):
            SaveRun(tmp_path / "run", models)
    for every in (0, -1, 1.5, "2"):
        with pytest.raises(ValueError, match=f"every is {every!r}; .*at least 1"):
            SaveRun(tmp_path / "run", {d_model: define_discriminator()}, every)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        SaveRun(tmp_path / "file" / "run", {d_model: d_model})


def test_a_folder_that_cannot_be_written_to_is_named_at_once(tmp_path, monkeypatch):
    def denied(dir):
        raise PermissionError(13, "Permission denied", dir)

    monkeypatch.setattr("tempfile.TemporaryFile", denied)
    with pytest.raises(OSError, match="run"):
        SaveRun(tmp_path / "run", {})


def test_a_save_holds_numbers_and_text_only(tmp_path):
    """No code: np.load refuses pickles, and the curves are JSON."""
    _, history = run(tmp_path, 2)
    with np.load(tmp_path / "epoch-00002.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert {array.dtype.kind for array in arrays.values()} <= set("fiuU")
    assert json.loads(str(arrays["curves"])) == [[0, 1], history.history]
    assert json.loads(str(arrays["names"])) == ["generator", "discriminator"]
