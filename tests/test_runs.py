import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from functools import cache
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

from keras_gen import ImagePool, SaveRun, define_gan, define_vae, loop, train, train_cyclegan


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


def pretend(models, n_epochs, callbacks, initial_epoch=0):
    """A training of three steps an epoch in which nothing moves: what is saved when, and where, is the same."""
    networks = list(players(models)) if len(models) > 1 else models
    model = models[-1]
    return loop(lambda: {"loss": 1.0}, model, networks, n_epochs, 3, callbacks, initial_epoch, verbose=0)


def pretend_run(folder, n_epochs, callbacks=(), **options):
    """Of one network: go on where the folder's save ends."""
    model = define_discriminator()
    save = SaveRun(folder, {model: model}, **options)
    pretend([model], n_epochs, [save, *callbacks], save.restore())


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


class KeepSave(keras.callbacks.Callback):
    """Copy a run's folder after so many epochs: what is left of a run that was stopped then."""

    def __init__(self, n_epochs, folder, copy):
        super().__init__()
        self.n_epochs, self.folder, self.copy = n_epochs, folder, copy

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.n_epochs:
            shutil.copytree(self.folder, self.copy)


@cache
def straight():
    """What five epochs without a stop end with, their curves, and the save of two."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "kept")
        models, history = run(Path(folder, "run"), 5, [KeepSave(2, Path(folder, "run"), kept)])
        (save,) = kept.iterdir()
        return state(models), history, save.read_bytes()


@pytest.mark.every_backend
@pytest.mark.skipif(bool(os.environ.get("KERAS_GEN_XLA")), reason="the new process trains without XLA")
def test_going_on_in_a_new_process_is_as_if_it_had_never_stopped(tmp_path):
    numbers, history, save = straight()
    (tmp_path / "epoch-00002.npz").write_bytes(save)
    code = f"from test_runs import run; run({str(tmp_path)!r}, 5, seed=7)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)
    models, again = run(tmp_path, 5, seed=8)  # all epochs are done: it is restored, and nothing is trained
    assert equal(state(models), numbers)
    assert again.epoch == history.epoch == [0, 1, 2, 3, 4] and again.history == history.history


@pytest.mark.every_backend
def test_ctrl_c_in_the_middle_of_an_epoch_costs_that_epoch_and_no_more(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_end(self, batch, logs=None):
            if (self.epoch, batch) == (3, 1):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 5, [Interrupt()], every=10)
    assert saves(tmp_path) == ["epoch-00003.npz"]
    models, again = run(tmp_path, 5, seed=1, every=10)
    numbers, history, _ = straight()
    assert equal(state(models), numbers) and again.history == history.history


@pytest.mark.every_backend
def test_a_cyclegan_goes_on_as_if_it_had_never_stopped(tmp_path):
    """Stopped where the learning rate has begun to fall and the pools are full."""

    def run_cyclegan(folder, seed, callbacks=()):
        keras.utils.set_random_seed(seed)
        models = make_cyclegan()
        models[4].pool, models[5].pool = ImagePool(3), ImagePool(2 if seed == 0 else 9)
        save = SaveRun(folder, players(models))
        initial_epoch = save.restore()
        frozen = [layer.name for network in models[:4] for layer in (network, *network.layers) if not layer.trainable]
        assert not (initial_epoch and frozen)
        callbacks = [save, *callbacks]
        history = train_cyclegan(*models, make_domains(2, 2), 4, 1, callbacks, initial_epoch, verbose=0)
        return models, history, initial_epoch

    stop = KeepSave(3, tmp_path / "straight", tmp_path / "stopped")
    straight, history, _ = run_cyclegan(tmp_path / "straight", 0, [stop])
    resumed, again, epoch = run_cyclegan(tmp_path / "stopped", seed=7)
    assert epoch == 3 and equal(state(resumed), state(straight))
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

    def train_it(folder, *callbacks):
        g, q, composite = build()
        save = SaveRun(folder, {g: composite, q: composite})

        def step():
            z = np.random.standard_normal((4, 2))
            return composite.train_on_batch(z, z[:, :1], return_dict=True)

        loop(step, composite, [g, q], 3, 3, [save, *callbacks], save.restore(), verbose=0)
        return g, q, composite

    keras.utils.set_random_seed(0)
    straight = train_it(tmp_path / "straight", KeepSave(1, tmp_path / "straight", tmp_path / "stopped"))
    keras.utils.set_random_seed(1)
    assert equal(state(train_it(tmp_path / "stopped")), state(straight))


@pytest.mark.every_backend
def test_fit_can_be_saved_too(tmp_path):
    x = np.random.default_rng(0).uniform(0, 1, (64, 6)).astype("float32")

    def fit(folder, *callbacks):
        image, z = keras.Input((6,)), keras.Input((2,))
        encoder = keras.Model(image, [keras.layers.Dense(2)(image), keras.layers.Dense(2)(image)])
        vae = define_vae(encoder, keras.Model(z, keras.layers.Dense(6, activation="sigmoid")(z)))
        save = SaveRun(folder, {vae: vae})
        callbacks = [save, *callbacks]
        vae.fit(x, x, epochs=4, initial_epoch=save.restore(), callbacks=callbacks, verbose=0, shuffle=False)
        return [vae]

    keras.utils.set_random_seed(0)
    straight = fit(tmp_path / "straight", KeepSave(2, tmp_path / "straight", tmp_path / "stopped"))
    keras.utils.set_random_seed(5)
    assert equal(state(fit(tmp_path / "stopped")), state(straight))


# ---- nothing is lost ----


def test_only_the_last_save_stays_and_other_files_are_left_alone(tmp_path):
    for name in ("epoch-notes.txt", "epoch-00009.npz.part", "xepoch-00007.npz"):
        (tmp_path / name).write_text("mine")
    pretend_run(tmp_path, 3)
    assert saves(tmp_path) == ["epoch-00003.npz", "epoch-00009.npz.part", "epoch-notes.txt", "xepoch-00007.npz"]


def test_a_new_run_does_not_replace_an_older_one(tmp_path):
    pretend_run(tmp_path, 3)
    model, steps = define_discriminator(), []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    for epoch in (0, 2):
        with pytest.raises(ValueError, match=rf"a save of 3 epochs, .* from epoch {epoch} on, .*restore\(\)"):
            pretend([model], 5, [SaveRun(tmp_path, {model: model}), count], epoch)
    assert saves(tmp_path) == ["epoch-00003.npz"] and steps == []
    save = SaveRun(tmp_path, {model: model})
    assert save.restore() == 3
    with pytest.raises(ValueError, match="restore"):  # forgotten to hand on
        pretend([model], 5, save)
    pretend([model], 4, save, 3)
    assert saves(tmp_path) == ["epoch-00004.npz"]


def test_a_save_of_somebody_else_stays(tmp_path):
    """Only what was restored, or written, is replaced by the next save."""
    pretend_run(tmp_path, 2)
    (tmp_path / "epoch-00001.npz").write_bytes(b"kept by hand")
    pretend_run(tmp_path, 3)
    assert saves(tmp_path) == ["epoch-00001.npz", "epoch-00003.npz"]
    model = define_discriminator()  # that is not restored, but goes on where another one was
    pretend([model], 4, SaveRun(tmp_path, {model: model}), 3)
    assert saves(tmp_path) == ["epoch-00001.npz", "epoch-00003.npz", "epoch-00004.npz"]


def test_the_same_callback_in_two_trainings(tmp_path):
    """The second time from the beginning once more: the first save was put aside by hand."""
    model = define_discriminator()
    save = SaveRun(tmp_path, {model: model})
    pretend([model], 1, save)
    (tmp_path / "epoch-00001.npz").rename(tmp_path / "first.npz")
    pretend([model], 1, save)
    assert saves(tmp_path) == ["epoch-00001.npz", "first.npz"]
    pretend([model], 2, save, 1)
    assert saves(tmp_path) == ["epoch-00002.npz", "first.npz"]


@pytest.mark.parametrize(("n_epochs", "every", "last"), [(5, 2, 5), (3, 5, 3), (4, 2, 4)])
def test_every_few_epochs_and_the_last(tmp_path, n_epochs, every, last):
    seen = []
    look = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(saves(tmp_path)))
    pretend_run(tmp_path, n_epochs, [look], every=every)
    number = [epoch // every * every for epoch in range(n_epochs)]
    assert seen == [[f"epoch-{n:05d}.npz"] if n else [] for n in number]
    assert saves(tmp_path) == [f"epoch-{last:05d}.npz"]


@pytest.mark.parametrize("how", ["early stopping", "an error"])
def test_the_last_whole_epoch_is_saved_however_the_run_ends(tmp_path, how):
    def fail(epoch, logs):
        if epoch == 3:
            raise RuntimeError

    if how == "an error":
        with pytest.raises(RuntimeError):
            pretend_run(tmp_path, 5, [keras.callbacks.LambdaCallback(on_epoch_begin=fail)], every=10)
    else:
        pretend_run(tmp_path, 5, [StopAfter(3)], every=10)
    assert saves(tmp_path) == ["epoch-00003.npz"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path, capsys):
    """The losses of the last step are computed before its update: they are fine."""
    model = define_discriminator()

    def spoil(epoch, logs):
        if epoch == 2:
            model.layers[-1].bias.assign([np.nan])

    save = SaveRun(tmp_path, {model: model})
    pretend([model], 3, [keras.callbacks.LambdaCallback(on_epoch_end=spoil), save])
    assert "Epoch 3 is not saved: 1 arrays hold numbers that are not finite." in capsys.readouterr().out
    assert saves(tmp_path) == ["epoch-00002.npz"]
    assert save.restore() == 2 and all(np.isfinite(weight).all() for weight in weights(model))


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


def test_killed_at_every_step_of_a_save(tmp_path, monkeypatch):
    """A copy of the folder before each call that touches the disk is what a kill would have left: what was saved in it
    is whole, and the run goes on from it as if never killed."""
    left = []

    def stopping(name, call):
        def copy_first(*args, **kwargs):
            if name == "savez":
                args[0].write(b"half a file")
                args[0].flush()
            left.append((name, tmp_path / f"{len(left) + 1}"))
            shutil.copytree(tmp_path / "run", left[-1][1])
            if name == "savez":
                args[0].seek(0)
            return call(*args, **kwargs)

        return copy_first

    with monkeypatch.context() as patch:
        for module, name in ((np, "savez"), (os, "replace"), (os, "remove")):
            patch.setattr(module, name, stopping(name, getattr(module, name)))
        run(tmp_path / "run", 3)
    found = [(name, [re.sub(r"npz\.\d+\.part", "npz.part", file) for file in saves(folder)]) for name, folder in left]
    assert found[:6] == [
        ("savez", ["epoch-00001.npz.part"]),
        ("replace", ["epoch-00001.npz.part"]),
        ("savez", ["epoch-00001.npz", "epoch-00002.npz.part"]),
        ("replace", ["epoch-00001.npz", "epoch-00002.npz.part"]),
        ("remove", ["epoch-00001.npz", "epoch-00002.npz"]),
        ("savez", ["epoch-00002.npz", "epoch-00003.npz.part"]),
    ]
    for (_, folder), epoch in zip(left, [0, 0, 1, 1, 2, 2], strict=False):
        assert SaveRun(folder, players(make_gan(batchnorm=True))).restore() == epoch
    folder = left[4][1]
    models, _ = run(folder, 5, seed=4)
    assert equal(state(models), straight()[0])
    assert [name for name in saves(folder) if "epoch-00005" in name] == ["epoch-00005.npz"]


# ---- what is refused ----


def test_models_that_are_not_those_of_the_save(tmp_path):
    saved = make_gan(batchnorm=True)
    pretend(saved, 1, SaveRun(tmp_path / "gan", players(saved)))
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
    pretend(models, 1, save)
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
    pretend_run(tmp_path, 2)
    second = (tmp_path / "epoch-00002.npz").read_bytes()
    pretend_run(tmp_path, 10)
    (tmp_path / "epoch-00002.npz").write_bytes(second)
    model = define_discriminator()
    assert SaveRun(tmp_path, {model: model}).restore() == 10 and model.history.epoch == list(range(10))


def test_a_damaged_save_is_named(tmp_path):
    pretend_run(tmp_path, 1)
    path, model = tmp_path / "epoch-00001.npz", define_discriminator()
    whole = path.read_bytes()
    for damage in (lambda: path.write_bytes(whole[:2000]), lambda: path.write_bytes(b""), lambda: np.savez(path, x=1)):
        damage()
        with pytest.raises(ValueError, match=r"epoch-00001.npz is damaged .*Delete it"):
            SaveRun(tmp_path, {model: model}).restore()


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
    models = make_gan()
    history = pretend(models, 2, SaveRun(tmp_path, players(models)))
    with np.load(tmp_path / "epoch-00002.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert {array.dtype.kind for array in arrays.values()} <= set("fiuU")
    assert json.loads(str(arrays["curves"])) == [[0, 1], history.history]
    assert json.loads(str(arrays["names"])) == ["generator", "discriminator"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("curves"), "curves"),
        (lambda state: state.update(curves=np.array('[[0], {"g_loss": [1, 2]}]')), "curves"),
        (lambda state: state.update(random_keys=state["random_keys"][:9]), "random_keys"),
        (lambda state: state.update(random_position=np.array([1e9, 0, 0])), "random_position"),
        (lambda state: state.update(random_position=np.array([-5.0, 0, 0])), "random_position"),
        (lambda state: state.update(variable_3=np.full_like(state["variable_3"], np.nan)), "numbers"),
        (lambda state: state.update(variable_3=np.full(state["variable_3"].shape, "text")), "variables"),
        (lambda state: state.pop("variable_0"), "variable_0|other models"),
        (lambda state: state.update(names=np.array("5")), "names"),
        (lambda state: state.pop("rates"), "rates"),
    ],
)
def test_a_save_is_verified_before_the_first_weight_is_set(tmp_path, spoil, message):
    models = make_gan(batchnorm=True)
    pretend(models, 1, SaveRun(tmp_path, players(models)))
    path = tmp_path / "epoch-00001.npz"
    with np.load(path) as file:
        saved = dict(file)
    spoil(saved)
    np.savez(path, **saved)
    np.random.seed(9)
    for weight in models[0].weights:
        weight.assign(weight + 1)
    before, random_state = [weights(model) for model in models], np.random.get_state()[1].copy()
    with pytest.raises(ValueError, match=message):
        SaveRun(tmp_path, players(models)).restore()
    assert all(equal(weights(model), old) for model, old in zip(models, before, strict=True))
    assert np.array_equal(np.random.get_state()[1], random_state)


def test_networks_of_equal_shapes_that_compute_another_thing(tmp_path):
    def build(activation):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation=activation)])
        model.compile("sgd", loss="mse")
        return model

    model = build("relu")
    loop(lambda: {"loss": 1.0}, model, [model], 1, 1, SaveRun(tmp_path, {model: model}), verbose=0)
    for other, same in ((build("relu"), True), (build("tanh"), False)):
        save = SaveRun(tmp_path, {other: other})
        if same:
            assert save.restore() == 1
        else:
            with pytest.raises(ValueError, match="saved with other models"):
                save.restore()


def test_a_save_that_holds_more_than_the_models(tmp_path):
    """Of an optimizer with momentum: all that one without has comes first."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
    loop(lambda: {"loss": 1.0}, network, [network], 1, 1, SaveRun(tmp_path, {network: network}), verbose=0)
    network.compile(keras.optimizers.SGD(0.1), loss="mse")
    with pytest.raises(ValueError, match="saved with other models"):
        SaveRun(tmp_path, {network: network}).restore()


def test_networks_of_one_name(tmp_path):
    one, other = (keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="twin") for _ in range(2))
    one.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="twin"):
        SaveRun(tmp_path, {one: one, other: one})


def test_an_attribute_whose_state_is_no_dict_of_arrays(tmp_path):
    for state in ((1, 2), {"x": object()}):

        class Foreign:
            def get_state(self, state=state):
                return state

            def set_state(self, state):
                pass

        model = define_discriminator()
        model.foreign = Foreign()
        with pytest.raises(ValueError, match=r"discriminator\.foreign"):
            SaveRun(tmp_path, {model: model})


# ---- the learning rate ----


def rates(models):
    return [float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)) for model in models[2:0:-1]]


def restored(folder, rate, optimizer=keras.optimizers.Adam):
    g_model, d_model = define_generator(), define_discriminator(batchnorm=True)
    d_model.compile(optimizer(rate), loss="binary_crossentropy", metrics=["accuracy"])
    models = g_model, d_model, define_gan(g_model, d_model, optimizer(rate))
    save = SaveRun(folder, players(models))
    return models, save, save.restore()


@pytest.mark.every_backend
def test_a_rate_that_was_compiled_anew_stays_and_one_that_a_callback_changed_comes_back(tmp_path, capsys):
    models, save, _ = restored(tmp_path, 1e-3)
    fall = keras.callbacks.LearningRateScheduler(lambda epoch: 5e-4)
    pretend(models, 1, [fall, save])
    models, save, epoch = restored(tmp_path, 1e-3)
    assert epoch == 1 and rates(models) == pytest.approx([5e-4, 1e-3])  # the callback's `model` is the composite
    assert capsys.readouterr().out == ""
    pretend(models, 2, save, 1)
    assert rates(restored(tmp_path, 1e-3)[0]) == pytest.approx([5e-4, 1e-3])  # still the rate of this run
    assert capsys.readouterr().out == ""
    smaller, save, _ = restored(tmp_path, 1e-4)
    assert rates(smaller) == pytest.approx([1e-4, 1e-4])
    assert "0.0001, as compiled now; the save has 0.0005" in capsys.readouterr().out
    assert equal(weights(smaller[0]), weights(models[0]))
    pretend(smaller, 3, save, 2)
    assert rates(restored(tmp_path, 1e-4)[0]) == pytest.approx([1e-4, 1e-4])  # this run's own rate from now on
    assert rates(restored(tmp_path, 1e-3)[0]) == pytest.approx([1e-3, 1e-3])


def test_a_schedule_in_place_of_a_number(tmp_path):
    models, save, _ = restored(tmp_path, 1e-3)
    train(*models, make_dataset(), LATENT_DIM, 1, 32, save, verbose=0)
    falling, _, epoch = restored(tmp_path, keras.optimizers.schedules.ExponentialDecay(1e-2, 1, 0.5))
    assert epoch == 1 and equal(weights(falling[0]), weights(models[0]))
    # 4 steps of D a batch pair: the schedule goes by the restored number of steps.
    assert rates(falling)[0] == pytest.approx(1e-2 * 0.5 ** int(models[2].optimizer.iterations))


# ---- power cuts and full disks ----


def test_a_save_is_on_the_disk_before_its_predecessor_goes(tmp_path, monkeypatch):
    """Bytes, then the name, then the folder, and only then the removal: a power cut leaves one whole save."""
    done = []
    for name in ("fsync", "replace", "remove"):
        original = getattr(os, name)

        def spy(*args, name=name, original=original):
            what = os.fstat(args[0]).st_mode if name == "fsync" else None
            done.append("folder" if what and stat.S_ISDIR(what) else name)
            return original(*args)

        monkeypatch.setattr(os, name, spy)
    pretend_run(tmp_path, 2)
    once = ["fsync", "replace"] + ["folder"] * (os.name != "nt")
    assert done == once + once + ["remove"]


@pytest.mark.parametrize("when", [1, 3])
def test_a_disk_that_is_full_for_a_moment_costs_one_save(tmp_path, monkeypatch, capsys, when):
    calls, savez = [], np.savez

    def full(file, **arrays):
        calls.append(1)
        file.write(b"half")
        if len(calls) == when:
            raise OSError(28, "No space left on device")
        file.seek(0)
        savez(file, **arrays)

    monkeypatch.setattr(np, "savez", full)
    seen = []
    look = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(saves(tmp_path)))
    pretend_run(tmp_path, 4, [look])
    expected = [[]] + [[f"epoch-{n:05d}.npz"] for n in ((2, 3) if when == 1 else (1, 2, 2))]
    assert seen == ([[], *expected] if when == 1 else expected)
    assert saves(tmp_path) == ["epoch-00004.npz"]
    assert f"Epoch {when} is not saved" in capsys.readouterr().out


def test_the_folder_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = define_discriminator()
    save = SaveRun("here", {model: model})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loop(lambda: {"loss": 1.0}, model, [model], 1, 1, save, verbose=0)
    assert saves(tmp_path / "here") == ["epoch-00001.npz"]


def test_the_last_epoch_is_saved_whatever_comes_after_it(tmp_path):
    """`fit` calls no more clean-ups once one has raised."""

    class Bad(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            raise RuntimeError

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    save = SaveRun(tmp_path, {model: model}, every=10)
    with pytest.raises(RuntimeError):
        model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=3, callbacks=[Bad(), save], verbose=0)
    assert saves(tmp_path) == ["epoch-00003.npz"]


# ---- numbers of other kinds ----


def test_curves_with_gaps_are_saved_whole(tmp_path):
    """A score of the first epoch, in the save of the third."""

    def score(epoch, logs):
        if epoch == 0:
            logs["score"] = 5.0

    model = define_discriminator()
    add_score = keras.callbacks.LambdaCallback(on_epoch_end=score)
    loop(lambda: {"loss": 1.0}, model, [model], 3, 1, [SaveRun(tmp_path, {model: model}), add_score], verbose=0)
    other = define_discriminator()
    SaveRun(tmp_path, {other: other}).restore()
    assert other.history.epoch == [0, 1, 2]
    assert np.array_equal(other.history.history["score"], [5, np.nan, np.nan], equal_nan=True)


def test_numpys_second_gaussian_is_restored(tmp_path):
    """It draws two at a time: after an odd number the next one lies ready."""
    model = define_discriminator()
    np.random.seed(3)
    np.random.standard_normal(7)
    loop(lambda: {"loss": 1.0}, model, [model], 1, 1, SaveRun(tmp_path, {model: model}), verbose=0)
    expected = np.random.standard_normal(4)
    np.random.seed(9)
    SaveRun(tmp_path, {model: model}).restore()
    assert np.array_equal(np.random.standard_normal(4), expected)


@pytest.mark.every_backend
def test_bfloat16_variables_come_back(tmp_path):
    def build():
        model = keras.Sequential([keras.Input((2,), dtype="bfloat16"), keras.layers.Dense(3, dtype="bfloat16")])
        model.compile("sgd", loss="mse")
        return model

    model = build()
    loop(lambda: {"loss": 1.0}, model, [model], 1, 1, SaveRun(tmp_path, {model: model}), verbose=0)
    other = build()
    assert SaveRun(tmp_path, {other: other}).restore() == 1
    for a, b in zip(model.weights, other.weights, strict=True):
        assert np.array_equal(
            keras.ops.convert_to_numpy(keras.ops.cast(a, "float32")),
            keras.ops.convert_to_numpy(keras.ops.cast(b, "float32")),
        )
