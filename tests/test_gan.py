import random
import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from models import (
    LATENT_DIM,
    SHAPE,
    define_discriminator,
    define_generator,
    equal,
    make_dataset,
    make_gan,
    movement,
    watch_steps,
    weights,
)

from keras_gen import (
    averaged_generator,
    define_gan,
    generate_fake_samples,
    generate_real_samples,
    summarize_performance,
    train,
    train_discriminator,
)

CURVES = {"d_loss_real", "d_loss_fake", "g_loss", "d_acc_real", "d_acc_fake"}


class Adam:
    """Adam in NumPy, float64 (Kingma and Ba 2015, the order of section 2's last paragraph)."""

    def __init__(self, rate, beta_1=0.5, beta_2=0.999, epsilon=1e-7):
        self.rate, self.beta_1, self.beta_2, self.epsilon, self.t, self.m, self.v = (
            rate,
            beta_1,
            beta_2,
            epsilon,
            0,
            0,
            0,
        )

    def step(self, parameters, slopes):
        self.t += 1
        flat = np.concatenate([slope.ravel() for slope in slopes])
        self.m = self.beta_1 * self.m + (1 - self.beta_1) * flat
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * flat**2
        rate = self.rate * np.sqrt(1 - self.beta_2**self.t) / (1 - self.beta_1**self.t)
        moves = np.split(rate * self.m / (np.sqrt(self.v) + self.epsilon), np.cumsum([p.size for p in parameters])[:-1])
        for parameter, move in zip(parameters, moves, strict=True):
            parameter -= move.reshape(parameter.shape)


def one_layer_gan(n_classes=None):
    """D(x | y) = sigmoid(w x + b + e[y]) and G(z | y) = tanh(z A + c + E[y]), on images of 2x2 pixels."""
    point, image, label = keras.Input((3,)), keras.Input((2, 2, 1)), keras.Input((1,), dtype="int32")
    pixels, logit = layers.Dense(4, name="g_dense")(point), layers.Dense(1, name="d_dense")(layers.Flatten()(image))
    if n_classes:
        # No Embedding: on TensorFlow Adam adds the squares of its slopes for a class that is twice in a batch.
        one_hot = keras.ops.one_hot(label[:, 0], n_classes)
        pixels = layers.Add()([pixels, layers.Dense(4, use_bias=False, name="g_class")(one_hot)])
        logit = layers.Add()([logit, layers.Dense(1, use_bias=False, name="d_class")(one_hot)])
    drawn = layers.Reshape((2, 2, 1))(layers.Activation("tanh")(pixels))
    g_model = keras.Model([point, label] if n_classes else point, drawn)
    d_model = keras.Model([image, label] if n_classes else image, layers.Activation("sigmoid")(logit))
    d_model.compile(keras.optimizers.Adam(2e-3, beta_1=0.5), loss="binary_crossentropy", metrics=["accuracy"])
    return g_model, d_model, define_gan(g_model, d_model)


def parameters(model):
    """Kernel, bias, and a conditional model's vectors for the classes."""
    trained = [layer for layer in model.layers if layer.weights]
    return [
        weight for layer in sorted(trained, key=lambda layer: "class" in layer.name) for weight in layer.get_weights()
    ]


def by_hand(g_model, d_model, images, labels, n_classes, n_batch, n_steps):
    """The lecture's loop with slopes derived on paper. Returns the weights of both and each step's curves."""
    A, c, *E = (weight.astype("float64") for weight in parameters(g_model))
    w, b, *e = (weight.astype("float64") for weight in parameters(d_model))
    d_adam, g_adam, half, curves = Adam(2e-3), Adam(2e-4), n_batch // 2, []
    x_all = images.reshape(len(images), 4)

    def draw_points(n):
        z = np.random.standard_normal((n, 3)).astype("float32")
        return z, np.random.randint(0, n_classes, (n, 1))[:, 0] if n_classes else None

    def generate(z, y):
        return np.tanh(z @ A + c + (E[0][y] if E else 0))

    def judge(x, y):
        return 1 / (1 + np.exp(-(x @ w + b)[:, 0] - (e[0][y, 0] if e else 0)))

    def d_step(x, y, wanted):
        p = judge(x, y)
        slope = (p - wanted) / len(p)  # of the mean cross-entropy, in the logit
        slopes = [x.T @ slope[:, None], slope.sum(keepdims=True)]
        if e:
            slopes.append(np.bincount(y, slope, n_classes)[:, None])
        d_adam.step([w, b, *e], slopes)
        return -np.log(p if wanted else 1 - p).mean(), np.mean((p > 0.5) == wanted)

    for _ in range(n_steps):
        ix = np.random.randint(0, len(images), half)
        loss_real, acc_real = d_step(x_all[ix], labels[ix] if n_classes else None, 1)
        z, y = draw_points(half)
        loss_fake, acc_fake = d_step(generate(z, y), y, 0)
        z, y = draw_points(n_batch)
        x = generate(z, y)
        p = judge(x, y)
        slope = ((p - 1) / n_batch)[:, None] * w.T * (1 - x**2)  # through D, which stands still, and tanh
        slopes = [z.T @ slope, slope.sum(axis=0)]
        if E:
            slopes.append(np.stack([slope[y == k].sum(axis=0) for k in range(n_classes)]))
        g_adam.step([A, c, *E], slopes)
        curves.append([loss_real, loss_fake, -np.log(p).mean(), acc_real, acc_fake])
    return [A, c, *E, w, b, *e], np.array(curves)


@pytest.mark.every_backend
@pytest.mark.parametrize("n_classes", [None, 3])
def test_train_is_the_loop_derived_by_hand(n_classes):
    """Weights and curves after four steps, against NumPy: who learns what from which samples, under which name."""
    keras.utils.set_random_seed(0)
    g_model, d_model, gan_model = one_layer_gan(n_classes)
    start = parameters(g_model) + parameters(d_model)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (64, 2, 2, 1)).astype("float32")
    labels = rng.integers(0, n_classes or 1, 64)
    np.random.seed(5)
    expected, curves = by_hand(g_model, d_model, images, labels, n_classes, n_batch=16, n_steps=4)
    steps = []
    collect = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(logs))
    np.random.seed(5)
    dataset = (images, labels) if n_classes else images
    history = train(g_model, d_model, gan_model, dataset, 3, 1, 16, callbacks=[collect], verbose=0)
    ours = parameters(g_model) + parameters(d_model)
    for before, after, truth in zip(start, ours, expected, strict=True):
        assert np.abs(after - truth).max() < 1e-5 < 1e-4 < np.abs(after - before).max()
    order = ["d_loss_real", "d_loss_fake", "g_loss", "d_acc_real", "d_acc_fake"]
    np.testing.assert_allclose([[logs[name] for name in order] for logs in steps], curves, rtol=1e-5, atol=1e-6)
    means = [history.history[name][0] for name in order]
    np.testing.assert_allclose(means, curves.mean(axis=0), rtol=1e-5)


def test_the_curves_by_hand_cannot_be_mixed_up():
    """The test above would not see two curves swapped that are equal."""
    keras.utils.set_random_seed(0)
    g_model, d_model, _ = one_layer_gan()
    images = np.random.default_rng(0).uniform(-1, 1, (64, 2, 2, 1)).astype("float32")
    np.random.seed(5)
    _, curves = by_hand(g_model, d_model, images, None, None, n_batch=16, n_steps=4)
    means = np.sort(curves.mean(axis=0))
    assert np.diff(means).min() > 1e-3


@pytest.mark.every_backend
@pytest.mark.parametrize(("batchnorm", "n_classes"), [(False, None), (True, 3)])
def test_each_step_moves_its_own_model_and_no_other(monkeypatch, batchnorm, n_classes):
    g_model, d_model, gan_model = make_gan(batchnorm, n_classes)
    record = watch_steps(monkeypatch, g_model, d_model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras warns of a model without trainable weights
        for n_batch in (32, 14):  # every new batch size makes Keras trace its steps again
            d_model.trainable = False  # as define_gan leaves it: the loop does not rely on its caller
            record.clear()
            train(g_model, d_model, gan_model, make_dataset(2 * n_batch, n_classes), LATENT_DIM, 1, n_batch, verbose=0)
            assert [step[0] for step in record] == [d_model, d_model, gan_model] * 2
            assert [len(step[2]) for step in record] == [n_batch // 2, n_batch // 2, n_batch] * 2
            assert [step[4] for step in record] == [{"discriminator"}, {"discriminator"}, {"generator"}] * 2
            assert g_model.trainable and d_model.trainable


@pytest.mark.every_backend
def test_lecture_order_without_the_flags_trains_no_discriminator():
    """The trap itself. Should a later Keras mend it, this test says so."""
    _, d_model, _ = make_gan()
    before = weights(d_model)
    x, y = generate_real_samples(make_dataset(), 16)
    if keras.config.backend() != "jax":  # JAX does it without a word
        with pytest.warns(UserWarning, match="does not have any trainable weights"):
            d_model.train_on_batch(x, y)
    else:
        d_model.train_on_batch(x, y)
    assert movement(before, d_model) == 0


@pytest.mark.every_backend
def test_same_seed_same_weights():
    def run(seed):
        keras.utils.set_random_seed(seed)
        g_model, d_model, gan_model = make_gan()
        train(g_model, d_model, gan_model, make_dataset(), LATENT_DIM, n_epochs=1, n_batch=32, verbose=0)
        return weights(g_model) + weights(d_model)

    assert equal(run(1), run(1))


def test_uint8_is_scaled_and_lists_are_taken():
    """The lecture's own spelling is a list [images, labels]; labels may be a list too."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, *SHAPE), dtype=np.uint8)
    images, labels = pixels / np.float32(127.5) - 1, [0, 1, 2, 1] * 8

    def run(dataset):
        keras.utils.set_random_seed(3)
        models = make_gan(n_classes=3)
        train(*models, dataset, LATENT_DIM, 1, 8, verbose=0)
        return weights(models[0]) + weights(models[1])

    assert equal(run([pixels, labels]), run((images, np.array(labels))))
    np.random.seed(0)
    x, _ = generate_real_samples(pixels, 20)
    np.random.seed(0)
    assert np.array_equal(x, generate_real_samples(images, 20)[0]) and x.dtype == "float32"


def test_discriminator_learns_to_tell_images_from_random_pixels(capsys):
    keras.utils.set_random_seed(0)
    _, d_model, _ = make_gan()
    d_model.optimizer.learning_rate = 0.02
    images = np.full((64, *SHAPE), 0.5, "float32")
    images[0, 0, 0] = -0.5  # without a value below 0 they may as well be in [0, 1]
    train_discriminator(d_model, images, n_iter=40, n_batch=32)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 40 and lines[-1].startswith(">40 real=")
    right = [[int(share) for share in re.findall(r"=(\d+)%", line)] for line in lines[-10:]]
    assert np.mean(right, axis=0).min() > 90  # chance is 50, and Dropout costs some


def test_discriminator_warms_up_on_pixels_with_the_real_labels(monkeypatch):
    _, d_model, _ = make_gan(n_classes=3)
    record = watch_steps(monkeypatch, d_model)
    train_discriminator(d_model, make_dataset(64, n_classes=3), n_iter=2, n_batch=32)
    for (_, x_real, y_real, _, moved), (_, x_fake, y_fake, _, moved_again) in (record[:2], record[2:]):
        assert np.array_equal(x_real[1], x_fake[1]) and np.all(y_real == 1) and np.all(y_fake == 0)
        assert not np.array_equal(x_fake[0], x_real[0])
        assert x_fake[0].shape == (16, *SHAPE) and -1 <= x_fake[0].min() < -0.9 < 0.9 < x_fake[0].max() <= 1
        assert moved == moved_again == {"discriminator"}


def test_gan_learns_a_bright_image():
    """Some epochs move the samples of a fresh generator, grey on average, toward a data set of bright images."""
    keras.utils.set_random_seed(0)
    g_model, d_model, gan_model = make_gan()
    gan_model.optimizer.learning_rate = 2e-3
    before = generate_fake_samples(g_model, LATENT_DIM, 200)[0].mean()
    images = np.random.default_rng(0).uniform(0.6, 1.0, (256, *SHAPE)).astype("float32")
    images[0, 0, 0] = -0.5  # without a value below 0 they may as well be in [0, 1]
    train(g_model, d_model, gan_model, images, LATENT_DIM, n_epochs=30, n_batch=64, verbose=0)
    after = generate_fake_samples(g_model, LATENT_DIM, 200)[0].mean()
    assert abs(before) < 0.1 and after > 0.4


def test_the_composite_learns_as_the_lecture_says_or_as_it_is_told():
    lecture, own = make_gan()[2].optimizer, keras.optimizers.SGD(0.5)
    assert lecture.get_config()["beta_1"] == 0.5 and lecture.get_config()["learning_rate"] == pytest.approx(2e-4)
    assert define_gan(define_generator(), define_discriminator(), own).optimizer is own


@pytest.mark.every_backend
def test_averaged_generator():
    """With momentum 0.5 the average is worked out by hand from the weights after each step."""
    g_model, d_model, gan_model = make_gan()
    with pytest.raises(ValueError, match="use_ema"):
        averaged_generator(g_model, gan_model)
    gan_model = define_gan(g_model, d_model, keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5))
    with pytest.raises(ValueError, match="not trained a step"):
        averaged_generator(g_model, gan_model)
    after_each_step = []
    collect = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: after_each_step.append(weights(g_model))
    )
    train(g_model, d_model, gan_model, make_dataset(32), LATENT_DIM, 3, 32, callbacks=[collect], verbose=0)
    first, second, third = after_each_step
    seeds = random.getstate()
    average = averaged_generator(g_model, gan_model)
    for a, w1, w2, w3 in zip(weights(average), first, second, third, strict=True):
        assert np.allclose(a, w1 / 4 + w2 / 4 + w3 / 2, atol=1e-5)
    assert equal(weights(g_model), third)  # the generator is as it was
    assert random.getstate() == seeds  # and so is the run after it


def test_samples_and_labels():
    images, labels = make_dataset(50, n_classes=3)
    x, y = generate_real_samples(images, 20)
    assert x.shape == (20, *SHAPE) and np.all(y == 1) and y.shape == (20, 1)
    marked = (np.broadcast_to(labels[:, None, None, None], images.shape).astype("float32"), labels)
    (x, drawn), _ = generate_real_samples(marked, 20)
    assert np.array_equal(x[:, 0, 0, 0], drawn[:, 0])  # each image keeps its label
    g_model = define_generator(n_classes=3)
    np.random.seed(1)
    (x, drawn), y = generate_fake_samples(g_model, LATENT_DIM, 20, n_classes=3)
    assert x.shape == (20, *SHAPE) and drawn.shape == (20, 1) and np.all(y == 0) and set(np.unique(drawn)) == {0, 1, 2}
    np.random.seed(1)
    points = np.random.standard_normal((20, LATENT_DIM)).astype("float32")
    assert np.allclose(x, g_model.predict_on_batch([points, drawn]), atol=1e-6)  # of these labels


def test_summarize_performance_says_how_often_d_is_right_and_saves_the_generator(tmp_path, capsys):
    """A discriminator of brightness and a generator of bright images: every share is known."""
    image = keras.Input(SHAPE)
    d_model = keras.Model(image, layers.Activation("sigmoid")(layers.GlobalAveragePooling2D()(image)))
    d_model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    g_model = define_generator()
    g_model.set_weights([np.zeros_like(weight) for weight in g_model.get_weights()])
    g_model.layers[-1].bias.assign([2.0])  # always bright: D takes every fake for real
    dataset = np.where(np.arange(100) < 75, 0.5, -0.5).astype("float32").reshape(-1, 1, 1, 1) * np.ones((1, *SHAPE))
    acc_real, acc_fake = summarize_performance(9, g_model, d_model, dataset, LATENT_DIM, 2000, folder=tmp_path)
    assert acc_real == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 2000)) and acc_fake == 0
    assert capsys.readouterr().out == f">epoch 10: accuracy real={acc_real:.0%} fake=0%\n"
    loaded = keras.models.load_model(tmp_path / "generator_epoch_010.keras")
    points = np.ones((2, LATENT_DIM), "float32")
    assert np.array_equal(loaded.predict_on_batch(points), g_model.predict_on_batch(points))
    with pytest.raises(ValueError, match="n_samples is 0"):
        summarize_performance(9, g_model, d_model, dataset, LATENT_DIM, 0)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("loss", "of_a_fake_called_real"),
    [
        ("hinge", lambda d: np.maximum(1 - d, 0)),
        ([keras.losses.BinaryCrossentropy(from_logits=True)], lambda d: np.logaddexp(0, -d)),
        ({"answer": "mse"}, lambda d: (d - 1) ** 2),
    ],
)
def test_the_composite_has_the_discriminators_loss(loss, of_a_fake_called_real):
    g_model, image = define_generator(), keras.Input(SHAPE)
    d_model = keras.Model(image, layers.Dense(1, name="answer")(layers.Flatten()(image)))
    d_model.compile(loss=loss)
    gan_model = define_gan(g_model, d_model)
    points = np.random.default_rng(0).normal(size=(32, LATENT_DIM)).astype("float32")
    answers = d_model.predict_on_batch(g_model.predict_on_batch(points))
    found = gan_model.evaluate(points, np.ones((32, 1)), verbose=0)
    assert found == pytest.approx(of_a_fake_called_real(answers).mean(), rel=1e-4)


def test_a_discriminator_of_two_answers_has_two_losses_in_the_composite():
    g_model, image = define_generator(), keras.Input(SHAPE)
    flat = layers.Flatten()(image)
    d_model = keras.Model(image, [layers.Dense(1, name="a")(flat), layers.Dense(3, name="b")(flat)])
    d_model.compile(loss={"a": "mse", "b": "mae"})
    points = np.ones((4, LATENT_DIM), "float32")
    a, b = d_model.predict_on_batch(g_model.predict_on_batch(points))
    wanted = [np.ones((4, 1)), np.ones((4, 3))]
    found = define_gan(g_model, d_model).evaluate(points, wanted, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(np.mean((a - 1) ** 2) + np.mean(np.abs(b - 1)), rel=1e-4)


def test_fakes_are_asked_for_the_classes_that_there_are(monkeypatch):
    images, labels = make_dataset(64), np.where(np.arange(64) % 4, 3, 7)[:, None]
    models = g_model, d_model, gan_model = make_gan(n_classes=10)
    record = watch_steps(monkeypatch, g_model, d_model)
    painted, original = [], g_model.predict_on_batch
    monkeypatch.setattr(g_model, "predict_on_batch", lambda x: painted.append(x[1]) or original(x))
    train(*models, (images, labels), LATENT_DIM, 4, 64, verbose=0)
    asked = np.concatenate([np.ravel(x[1]) for model, x, *_ in record])
    assert set(asked) == {3, 7}
    # D sees a fake under the label that G was asked for.
    assert equal([x[1] for model, x, y, *_ in record if model is d_model and not y.any()], painted)
    fakes = np.concatenate([np.ravel(x[1]) for model, x, *_ in record if model is gan_model])
    assert abs(np.mean(fakes == 7) - 0.5) < 4 * 0.5 / np.sqrt(len(fakes))  # equally often, unlike the data's
    (_, drawn), _ = generate_fake_samples(g_model, LATENT_DIM, 50, np.array([2, 5]))
    assert set(np.ravel(drawn)) == {2, 5}


def define_normalising_generator():
    """Points to images whose pixels have mean 0 and variance 1 over the batch, then a tanh."""
    point = keras.Input((LATENT_DIM,))
    x = layers.BatchNormalization(center=False, scale=False, epsilon=1e-6)(layers.Dense(64)(point))
    return keras.Model(point, layers.Reshape(SHAPE)(layers.Activation("tanh")(x)), name="generator")


@pytest.mark.every_backend
def test_the_discriminator_sees_what_the_generator_draws_while_it_trains(monkeypatch):
    """By the batch and not by the moving averages, which begin at mean 0 and variance 1."""
    keras.utils.set_random_seed(0)
    g_model, d_model = define_normalising_generator(), define_discriminator()
    g_model.layers[1].kernel.assign(5 * np.random.default_rng(0).normal(size=(LATENT_DIM, 64)))
    gan_model = define_gan(g_model, d_model)
    record = watch_steps(monkeypatch, g_model, d_model)
    train(g_model, d_model, gan_model, make_dataset(64), LATENT_DIM, 1, 64, verbose=0)
    (fakes,) = (np.asarray(x) for model, x, y, *_ in record if model is d_model and not np.any(y))
    before_tanh = np.arctanh(np.clip(fakes, -0.999999, 0.999999))
    assert np.allclose(before_tanh.mean(axis=0), 0, atol=0.02) and np.allclose(before_tanh.std(axis=0), 1, atol=0.02)


@pytest.mark.every_backend
def test_an_averaged_generators_moving_averages_are_those_of_its_own_weights():
    g_model, d_model = define_normalising_generator(), define_discriminator()
    gan_model = define_gan(g_model, d_model, keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9))
    train(g_model, d_model, gan_model, make_dataset(64), LATENT_DIM, 2, 32, verbose=0)
    points = np.random.default_rng(1).normal(size=(1000, LATENT_DIM)).astype("float32")
    before = weights(g_model)
    average = averaged_generator(g_model, gan_model, points)
    assert equal(weights(g_model), before)
    dense, norm = average.layers[1], average.layers[2]
    kernel, bias = (keras.ops.convert_to_numpy(weight) for weight in (dense.kernel, dense.bias))
    batches = np.split(points @ kernel + bias, 20)
    means = np.mean([batch.mean(axis=0) for batch in batches], axis=0)
    variances = np.mean([batch.var(axis=0) for batch in batches], axis=0)
    assert np.allclose(keras.ops.convert_to_numpy(norm.moving_mean), means, atol=1e-4)
    assert np.allclose(keras.ops.convert_to_numpy(norm.moving_variance), variances, rtol=1e-3)
    assert norm.momentum == g_model.layers[2].momentum
    again = averaged_generator(g_model, gan_model)  # points of its own
    assert np.allclose(keras.ops.convert_to_numpy(again.layers[2].moving_variance), variances, rtol=0.3)


def test_one_of_two_generators_of_a_joint_composite_has_its_own_average():
    keras.utils.set_random_seed(1)
    point = keras.Input((LATENT_DIM,))
    one, two = define_generator(), keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 3, padding="same")])
    joint = keras.Model(point, two(one(point)))
    joint.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), loss="mse")
    joint.train_on_batch(np.ones((4, LATENT_DIM)), np.ones((4, *SHAPE)))
    first = weights(two)
    joint.train_on_batch(np.ones((4, LATENT_DIM)), np.ones((4, *SHAPE)))
    second = weights(two)
    average = weights(averaged_generator(two, joint))
    for a, w1, w2 in zip(average, first, second, strict=True):
        assert np.allclose(a, (w1 + w2) / 2, atol=1e-6)
    assert equal(weights(two), second)
    with pytest.raises(ValueError, match="another generator"):
        averaged_generator(define_generator(), joint)


def test_a_conditional_generator_with_batch_normalisation_wants_its_inputs():
    point, label = keras.Input((LATENT_DIM,)), keras.Input((1,), dtype="int32")
    x = layers.Concatenate()([point, layers.Flatten()(layers.Embedding(3, 4)(label))])
    g_model = keras.Model([point, label], layers.Reshape(SHAPE)(layers.BatchNormalization()(layers.Dense(64)(x))))
    d_model = define_discriminator(n_classes=3)
    gan_model = define_gan(g_model, d_model, keras.optimizers.Adam(0.01, use_ema=True))
    inputs = [np.ones((40, LATENT_DIM)), np.arange(40)[:, None] % 3]
    gan_model.train_on_batch(inputs, np.ones((40, 1)))
    with pytest.raises(ValueError, match=r"\[points, labels\]"):
        averaged_generator(g_model, gan_model)
    assert averaged_generator(g_model, gan_model, inputs).predict_on_batch(inputs).shape == (40, *SHAPE)
