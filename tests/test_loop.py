import math

import keras
import numpy as np
import pytest
from models import (
    LATENT_DIM,
    SHAPE,
    a_model,
    constant_step,
    define_discriminator,
    define_generator,
    equal,
    make_dataset,
    make_gan,
    watch_steps,
    weights,
)

from keras_gen import SaveRun, generate_real_samples, loop, train, train_only, train_step

# ---- a step ----


@pytest.mark.every_backend
def test_loss_is_that_of_its_own_batch():
    """Not the running mean over earlier calls, which Keras before 3.15 returns."""
    d_model = define_discriminator()
    d_model.layers[-2].rate = 0.0  # no dropout, so that the loss can be worked out from the answers
    d_model.optimizer.learning_rate = 0.0
    x, y = generate_real_samples(make_dataset(), 16)
    p = d_model.predict_on_batch(x)
    for y in (np.ones_like(p), np.zeros_like(p), np.ones_like(p)):
        logs = train_step(d_model, x, y)
        assert logs["loss"] == pytest.approx(-np.log(np.where(y == 1, p, 1 - p)).mean(), rel=1e-4)
        assert logs["accuracy"] == pytest.approx(np.mean((p > 0.5) == y))
        assert all(type(value) is float for value in logs.values())


@pytest.mark.every_backend
def test_first_step_is_traced_once_and_learns_what_keras_learns():
    """On TensorFlow a step that creates variables is traced twice; ours is not, and counts, draws, learns the same."""

    class CountingAdam(keras.optimizers.Adam):
        calls = 0

        def apply_gradients(self, grads_and_vars):
            CountingAdam.calls += 1
            return super().apply_gradients(grads_and_vars)

    class Noise(keras.layers.Layer):
        """Draws in inference too, unlike Keras's GaussianNoise."""

        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(5)

        def call(self, x):
            return x + keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)

    def build():
        keras.utils.set_random_seed(3)
        x = image = keras.Input((8,))
        for layer in (keras.layers.Dense(6), keras.layers.BatchNormalization(), Noise(), keras.layers.Dropout(0.3)):
            x = layer(x)
        answers = [keras.layers.Dense(3, name="a")(x), keras.layers.Dense(1, activation="sigmoid", name="b")(x)]
        model = keras.Model(image, answers)
        losses, metrics = ["mse", "binary_crossentropy"], [["mae"], ["accuracy"]]
        model.compile(CountingAdam(0.01, use_ema=True), loss=losses, loss_weights=[1.0, 0.5], metrics=metrics)
        return model

    x = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")
    y = [x[:, :3], (x[:, :1] > 0).astype("float32")]
    ours, keras_own = build(), build()
    for step in range(3):
        keras.utils.set_random_seed(step)  # PyTorch's dropout draws from the one generator of the process
        logs = train_step(ours, x, y)
        if keras.config.backend() == "tensorflow":
            assert CountingAdam.calls == 1
        keras_own.reset_metrics()
        keras.utils.set_random_seed(step)
        expected = keras_own.train_on_batch(x, y, return_dict=True)
        assert logs == {name: pytest.approx(float(value), rel=1e-6) for name, value in expected.items()}
        CountingAdam.calls = 1  # the second model counted too
    assert equal(weights(ours), weights(keras_own))


@pytest.mark.every_backend
def test_train_only_trains_one_network_or_several(monkeypatch):
    """Three players, two of which share a layer: who learns is what the call says, whatever was called before."""
    shared = keras.layers.Dense(3, name="shared")
    point, image = keras.Input((2,)), keras.Input((2,))
    players = g, d, q = [
        keras.Model(point, keras.layers.Dense(2, name="g")(point), name="g_net"),
        keras.Model(image, keras.layers.Dense(1, name="d")(shared(image)), name="d_net"),
        keras.Model(image, keras.layers.Dense(1, name="q")(shared(image)), name="q_net"),
    ]

    def through(inputs, *outputs):
        model = keras.Model(inputs, list(outputs))
        model.compile("sgd", loss=["mse"] * len(outputs))
        return model

    d.compile("sgd", loss="mse")
    q.compile("sgd", loss="mse")
    g_and_q, only_g = (through(point, d(g(point)), q(g(point))) for _ in range(2))
    d_and_q, only_q = (through(image, d(image), q(image)) for _ in range(2))
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    parts = [layer.kernel for layer in (g.layers[-1], shared, d.layers[-1], q.layers[-1])]

    def who_moves(network, model, y):
        before = [keras.ops.convert_to_numpy(part).copy() for part in parts]
        train_only(network, players, model, x, y)
        after = [keras.ops.convert_to_numpy(part) for part in parts]
        return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]

    for _ in range(2):
        assert who_moves(d, d, y) == [False, True, True, False]
        assert who_moves([g, q], g_and_q, [y, y]) == [True, True, False, True]
        assert who_moves([d, q], d_and_q, [y, y]) == [False, True, True, True]
        assert who_moves(q, q, y) == [False, True, False, True]
        assert who_moves(g, only_g, [y, y]) == [True, False, False, False]
        assert who_moves(q, only_q, [y, y]) == [False, True, False, True]
    with pytest.raises(ValueError, match="q_net is not among the networks"):
        train_only([g, q], (g, d), g_and_q, x, [y, y])
    with pytest.raises(ValueError, match="has trained other networks before"):  # TensorFlow would train these again
        train_only(g, players, g_and_q, x, [y, y])
    g_and_q.compile("sgd", loss=["mse", "mse"])
    assert who_moves(g, g_and_q, [y, y]) == [True, False, False, False]


# ---- the loop around it ----


@pytest.mark.every_backend
def test_epochs_steps_and_means():
    """The curves are the means of what the steps return; a loss that some steps leave out is the mean of the others."""
    numbers = iter(range(100))

    def step():
        n = next(numbers)
        logs = {"d_loss": keras.ops.convert_to_tensor(float(n))}
        return logs | {"g_loss": 10.0 * n} if n % 2 else logs

    heard = []

    class Listen(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            heard.append(("train begins", self.params["epochs"], self.params["steps"], self.model.name))

        def on_epoch_begin(self, epoch, logs=None):
            heard.append(("epoch begins", epoch))

        def on_train_batch_begin(self, batch, logs=None):
            heard.append(("batch begins", batch))

        def on_train_batch_end(self, batch, logs=None):
            heard.append(("batch ends", batch, logs["d_loss"]))

        def on_epoch_end(self, epoch, logs=None):
            heard.append(("epoch ends", epoch, logs["d_loss"]))

        def on_train_end(self, logs=None):
            heard.append(("train ends",))

    history = loop(step, a_model(), [], n_epochs=3, n_steps=3, callbacks=[Listen()], initial_epoch=1, verbose=0)
    assert history.epoch == [1, 2] and history.history == {"d_loss": [1, 4], "g_loss": [10, 40]}
    assert heard[:3] == [("train begins", 3, 3, "player"), ("epoch begins", 1), ("batch begins", 0)]
    assert heard[3:5] == [("batch ends", 0, 0), ("batch begins", 1)]
    assert heard[8:10] == [("epoch ends", 1, 1), ("epoch begins", 2)]
    assert heard[-2:] == [("epoch ends", 2, 4), ("train ends",)] and len(heard) == 18


def test_a_loss_is_a_number_at_once():
    """As float makes it: a tensor of a GPU would stay there otherwise, and NumPy could not take its mean."""

    class Loss:
        def __float__(self):
            return 1.5

    history = loop(lambda: {"loss": Loss()}, a_model(), [], 1, 2, verbose=0)
    assert history.history == {"loss": [1.5]}


@pytest.mark.parametrize("callbacks", [None, (), [], "one", [["one"]]])
def test_callbacks_are_taken_as_fit_takes_them(callbacks):
    seen = []
    one = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    given = {"one": one}.get(callbacks) if isinstance(callbacks, str) else callbacks
    loop(constant_step, a_model(), [], 2, 1, [[one]] if callbacks == [["one"]] else given, verbose=0)
    assert seen == ([0, 1] if callbacks in ("one", [["one"]]) else [])


def test_a_callback_may_add_to_the_curves():
    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = 10 * epoch

    assert loop(constant_step, a_model(), [], 3, 1, Score(), verbose=0).history["score"] == [0, 10, 20]


def test_a_callback_may_end_the_training_at_once_and_the_next_one_starts_afresh():
    class StopAt(keras.callbacks.Callback):
        def __init__(self, batch=None):
            super().__init__()
            self.batch = batch

        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == self.batch

        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = self.model.stop_training or self.batch is None

    model, calls = a_model(), []

    def step():
        calls.append(1)
        return {"loss": 1.0}

    assert loop(step, model, [], 4, 5, StopAt(batch=1), verbose=0).epoch == [0] and len(calls) == 2
    assert loop(step, model, [], 4, 5, StopAt(), verbose=0).epoch == [0] and len(calls) == 7
    assert loop(step, model, [], 2, 5, verbose=0).epoch == [0, 1] and len(calls) == 17


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_ends_a_training_networks_are_trainable_and_callbacks_hear_of_it(error):
    networks, ended = [a_model("one"), a_model("two")], []

    def step():
        networks[0].trainable = False
        networks[1].trainable = False
        raise error

    with pytest.raises(error):
        on_end = keras.callbacks.LambdaCallback(on_train_end=lambda logs: ended.append(1))
        loop(step, networks[0], networks, 2, 2, on_end, verbose=0)
    assert ended == [1] and all(network.trainable and network.layers[0].trainable for network in networks)


def test_ctrl_c_in_train_leaves_a_discriminator_that_can_be_saved(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    g_model, d_model, gan_model = make_gan()
    with pytest.raises(KeyboardInterrupt):
        train(g_model, d_model, gan_model, make_dataset(), LATENT_DIM, 2, 32, Interrupt(), verbose=0)
    d_model.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    assert len(loaded.optimizer.variables) == len(d_model.optimizer.variables) > 2
    assert equal(weights(loaded), weights(d_model))


def test_going_on_continues_the_curves():
    numbers = iter(range(10))
    model = a_model()
    loop(lambda: {"loss": next(numbers)}, model, [], 3, 1, verbose=0)
    history = loop(lambda: {"loss": next(numbers)}, model, [], 4, 1, initial_epoch=2, verbose=0)
    assert history.epoch == [0, 1, 2, 3] and history.history == {"loss": [0, 1, 3, 4]}
    assert model.history is history
    afresh = loop(lambda: {"loss": next(numbers)}, model, [], 1, 1, verbose=0)
    assert afresh.epoch == [0] and afresh.history == {"loss": [5]}
    done = loop(constant_step, model, [], 1, 1, initial_epoch=1, verbose=0)  # nothing is left to do
    assert done.history == {"loss": [5]} and done.epoch == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_epochs": 0}, "n_epochs is 0; .*at least 1"),
        ({"n_epochs": -1}, "n_epochs is -1"),
        ({"n_epochs": 1.0}, r"n_epochs is 1\.0; it must be a whole number"),
        ({"n_epochs": "1"}, "n_epochs is '1'"),
        ({"n_steps": 0}, "n_steps is 0"),
        ({"initial_epoch": -1}, "initial_epoch is -1"),
        ({"initial_epoch": 3}, "initial_epoch is 3, but n_epochs, the epoch to stop after, is 2"),
        ({"verbose": 3}, "verbose is 3"),
        ({"verbose": "yes"}, "verbose is 'yes'"),
    ],
)
def test_numbers_that_make_no_training(options, message):
    def step():
        pytest.fail("a step was taken")

    with pytest.raises(ValueError, match=message):
        loop(step, a_model(), [], **{"n_epochs": 2, "n_steps": 2} | options)


def test_a_step_that_returns_no_losses():
    with pytest.raises(ValueError, match=r"step\(\) must return a dict of losses; it returned NoneType"):
        loop(lambda: None, a_model(), [], 1, 1, verbose=0)


# ---- Keras's own callbacks ----


def test_callbacks_of_keras_work_as_with_fit(tmp_path, capsys):
    callbacks = keras.callbacks
    scheduled = []
    recorder = callbacks.History()
    given = [
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.ProgbarLogger(),
        callbacks.TerminateOnNaN(),
        callbacks.LearningRateScheduler(lambda epoch, rate: scheduled.append(rate) or rate),
        callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(score=float(epoch))),
        recorder,
    ]
    history = train(*make_gan(), make_dataset(64), LATENT_DIM, 3, 32, given, verbose=0)
    assert history.epoch == [0, 1, 2] and len(scheduled) == 3 and history.history["score"] == [0, 1, 2]
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert header.startswith("epoch,") and len(rows) == 3
    column = header.split(",").index("g_loss")
    assert [float(row.split(",")[column]) for row in rows] == pytest.approx(history.history["g_loss"])
    assert recorder.history["g_loss"] == history.history["g_loss"]


def test_callbacks_that_watch_a_curve(tmp_path):
    """They need `mode="min"`: from a name such as g_loss Keras cannot tell which way is better."""
    callbacks, model = keras.callbacks, a_model()
    never_better = {"monitor": "g_loss", "mode": "min", "min_delta": 1e9}
    reduce = callbacks.ReduceLROnPlateau(patience=1, factor=0.5, **never_better)
    keep = callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", "g_loss", save_weights_only=True, mode="min")
    stop = callbacks.EarlyStopping(patience=2, **never_better)
    history = loop(lambda: {"g_loss": 1.0}, model, [], 9, 2, [reduce, keep, stop], verbose=0)
    assert history.epoch == [0, 1, 2]
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    assert rate == pytest.approx(0.01 / 4)  # halved after the second epoch and after the third
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{n}.weights.h5" for n in (1, 2, 3)]


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    loop(constant_step, a_model(), [], 2, 2, keras.callbacks.TensorBoard(tmp_path), verbose=0)
    assert list(tmp_path.rglob("events.out*"))


# ---- a system of one's own ----


@pytest.mark.every_backend
def test_a_system_of_ones_own(monkeypatch):
    """What the loop is for: a Wasserstein GAN with clipped weights, its critic trained three times a step."""
    keras.utils.set_random_seed(0)

    class Clip(keras.constraints.Constraint):
        def __call__(self, w):
            return keras.ops.clip(w, -0.05, 0.05)

    def wasserstein(y, score):
        return keras.ops.mean((1 - 2 * y) * score)

    image = keras.Input(SHAPE)
    score = keras.layers.Dense(1, kernel_constraint=Clip())(keras.layers.Flatten()(image))
    critic, g_model = keras.Model(image, score, name="critic"), define_generator()
    critic.compile(keras.optimizers.RMSprop(0.01), loss=wasserstein)
    critic.trainable = False
    gan_model = keras.Model(g_model.inputs, critic(g_model.output))
    gan_model.compile(keras.optimizers.RMSprop(0.01), loss=wasserstein)
    images, networks = np.random.uniform(0.5, 0.9, (64, *SHAPE)).astype("float32"), (g_model, critic)

    def step():
        for _ in range(3):
            real = train_only(critic, networks, critic, images[:16], np.ones((16, 1)))
            z = np.random.standard_normal((16, LATENT_DIM))
            fake = train_only(critic, networks, critic, g_model.predict_on_batch(z), np.zeros((16, 1)))
        g = train_only(g_model, networks, gan_model, np.random.standard_normal((16, LATENT_DIM)), np.ones((16, 1)))
        return {"critic_loss": real["loss"] + fake["loss"], "g_loss": g["loss"]}

    record = watch_steps(monkeypatch, g_model, critic)
    points = np.random.standard_normal((64, LATENT_DIM))
    before = g_model.predict_on_batch(points).mean()
    history = loop(step, gan_model, networks, n_epochs=4, n_steps=10, verbose=0)
    assert [moved for *_, moved in record[:7]] == [{"critic"}] * 6 + [{"generator"}]
    assert g_model.predict_on_batch(points).mean() > before + 0.2  # towards the bright images
    assert len(history.history["critic_loss"]) == 4 and np.abs(weights(critic)[0]).max() <= 0.05 + 1e-6


# ---- curves with gaps; what goes wrong in a callback ----


def test_every_curve_has_a_value_an_epoch():
    """A loss that some epochs have, and a score that a callback adds every other epoch."""
    losses = iter([{"a": 1.0}, {"a": 2.0, "b": 5.0}, {"a": 3.0}, {"a": 4.0, "b": 6.0}])

    def score(epoch, logs):
        if epoch % 2:
            logs["score"] = float(epoch)

    add_score = keras.callbacks.LambdaCallback(on_epoch_end=score)
    model = a_model()
    history = loop(lambda: next(losses), model, [], 4, 1, add_score, verbose=0)
    nan = math.nan
    expected = {"a": [1, 2, 3, 4], "b": [nan, 5, nan, 6], "score": [nan, 1, nan, 3]}
    assert set(history.history) == set(expected)
    for name, values in expected.items():
        assert np.array_equal(history.history[name], values, equal_nan=True)
    again = loop(lambda: {"a": 9.0}, model, [], 4, 1, initial_epoch=3, verbose=0)
    assert np.array_equal(again.history["score"], [nan, 1, nan, nan], equal_nan=True)
    assert again.history["a"] == [1, 2, 3, 9]


def test_a_curve_of_unknown_epochs_is_not_continued():
    """Such as `fit` leaves with validation_freq=2."""
    model = a_model()
    model.history = keras.callbacks.History()
    model.history.epoch, model.history.history = [0, 1, 2], {"loss": [1.0, 2.0, 3.0], "val_loss": [7.0]}
    history = loop(lambda: {"loss": 4.0}, model, [], 3, 1, initial_epoch=2, verbose=0)
    assert history.history == {"loss": [1, 2, 4]}


def test_an_epochs_loss_is_the_mean_of_its_steps():
    losses = iter([0.0, 1.0, 5.0])
    assert loop(lambda: {"loss": next(losses)}, a_model(), [], 1, 3, verbose=0).history == {"loss": [2.0]}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_before_the_first_epoch_leaves_everything_as_it_was(error):
    model, network, ended = a_model(), a_model("other"), []
    loop(constant_step, model, [], 2, 1, verbose=0)
    earlier = model.history
    network.trainable = False

    class Broken(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise error("at once")

        def on_train_end(self, logs=None):
            ended.append(1)

    with pytest.raises(error, match="at once"):
        loop(constant_step, model, [network], 3, 1, Broken(), initial_epoch=2, verbose=0)
    assert model.history is earlier and network.trainable and ended == [1]
    assert loop(constant_step, model, [], 3, 1, initial_epoch=2, verbose=0).epoch == [0, 1, 2]


def test_every_callback_ends_whatever_another_one_raises():
    ended = []

    class End(keras.callbacks.Callback):
        def __init__(self, name, error=None):
            super().__init__()
            self.name, self.error = name, error

        def on_train_end(self, logs=None):
            ended.append(self.name)
            if self.error:
                raise self.error

    callbacks = [End("a", RuntimeError("first")), End("b", KeyboardInterrupt()), End("c")]
    with pytest.raises(RuntimeError, match="first"):
        loop(constant_step, a_model(), [], 1, 1, callbacks, verbose=0)
    assert ended == ["a", "b", "c"]

    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):  # what ended the training comes first
        loop(broken, a_model(), [], 1, 1, callbacks, verbose=0)
    try:
        raise OSError("of long ago")
    except OSError:
        loop(constant_step, a_model(), [], 1, 1, verbose=0)  # an error that was dealt with is none of this training's


def test_a_saver_comes_last_and_keras_own_is_refused(tmp_path):
    model = a_model()
    late = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(score=7.0))
    save = SaveRun(tmp_path / "run", {model: model})
    loop(constant_step, model, [], 1, 1, [save, late], verbose=0)
    other = a_model()
    assert SaveRun(tmp_path / "run", {other: other}).restore() == 1
    assert other.history.history == {"loss": [1.0], "score": [7.0]}
    with pytest.raises(ValueError, match="SaveRun"):
        loop(constant_step, model, [], 2, 1, keras.callbacks.BackupAndRestore(tmp_path / "backup"), verbose=0)


def test_a_metric_of_several_numbers_counts_as_their_mean():
    class PerColumn(keras.metrics.Metric):
        def update_state(self, y_true, y_pred, sample_weight=None):
            pass

        def result(self):
            return keras.ops.convert_to_tensor([1.0, 2.0, 6.0])

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse", metrics=[PerColumn(name="columns")])
    assert train_step(model, np.ones((2, 2)), np.ones((2, 1)))["columns"] == 3.0
