"""Mistakes cost a sentence and not an hour: nothing was trained when it comes."""

import keras
import numpy as np
import pytest
from keras import layers
from models import (
    COLOUR,
    KERAS,
    LATENT_DIM,
    SHAPE,
    define_discriminator,
    define_generator,
    define_translator,
    make_cyclegan,
    make_dataset,
    make_domains,
    make_gan,
)

from keras_gen import define_composite_model, define_gan, invert_generator, train, train_cyclegan, train_discriminator


@pytest.fixture(autouse=True)
def no_step(monkeypatch):
    def fail(*args, **kwargs):
        pytest.fail("a step was taken")

    monkeypatch.setattr(keras.Model, "train_on_batch", fail)


class Accepted(Exception):
    """A training got as far as its first step."""


@pytest.fixture
def accepted(monkeypatch):
    def stop(*args, **kwargs):
        raise Accepted

    monkeypatch.setattr(keras.Model, "train_on_batch", stop)
    return pytest.raises(Accepted)


@pytest.fixture(scope="module")
def gan():
    """For what is refused: nothing trains it."""
    return make_gan()


@pytest.fixture(scope="module")
def conditional():
    return make_gan(n_classes=3)


@pytest.fixture(scope="module")
def six():
    return make_cyclegan()


IMAGES = make_dataset(16)
LABELS = np.arange(16) % 3
PLAIN = {
    "outside": (dict(dataset=IMAGES * 3), r"\[-1, 1\]"),
    "nan": (dict(dataset=np.full_like(IMAGES, np.nan)), r"\[-1, 1\].* nan"),
    "one nan": (dict(dataset=np.where(np.arange(16).reshape(-1, 1, 1, 1) == 7, np.nan, IMAGES)), "nan"),
    "int64": (dict(dataset=np.zeros((16, *SHAPE), "int64")), "int64; wanted are uint8, or floats"),
    "in [0, 1]": (dict(dataset=IMAGES / 2 + 0.5), r"no value below 0.*\* 2 - 1"),
    "rank": (dict(dataset=IMAGES[..., 0]), r"\(n, 8, 8, 1\).*given: \(16, 8, 8\)"),
    "channels": (dict(dataset=np.repeat(IMAGES, 3, axis=-1)), r"given: \(16, 8, 8, 3\)"),
    "list": (dict(dataset=list(IMAGES)), r"an array of images, or \(images, labels\); given: a list of 16"),
    "tuple of three": (dict(dataset=(IMAGES, LABELS, LABELS)), "a tuple of 3"),
    "tuple of one": (dict(dataset=(IMAGES,)), "a tuple of 1"),
    "tensor": (dict(dataset=keras.ops.convert_to_tensor(IMAGES)), "NumPy array; given: .*np.asarray"),
    "None": (dict(dataset=None), "NumPy array; given: NoneType"),
    "empty": (dict(dataset=IMAGES[:0]), "holds 0 images"),
    "odd batch": (dict(n_batch=7), "even.*7"),
    "no batch": (dict(n_batch=0), "n_batch is 0; .*at least 1"),
    "float batch": (dict(n_batch=8.0), r"n_batch is 8\.0; it must be a whole number"),
    "text batch": (dict(n_batch="8"), "n_batch is '8'"),
    "large batch": (dict(n_batch=32), "16 images, too few for n_batch=32"),
    "latent size": (dict(latent_dim=100), "100.*4 dimensions"),
    "labels not wanted": (dict(dataset=(IMAGES, LABELS)), "takes 1 input"),
    "no epoch": (dict(n_epochs=0), "n_epochs is 0"),
    "half an epoch": (dict(n_epochs=1.0), "n_epochs is 1.0"),
    "past the end": (dict(initial_epoch=3), "initial_epoch is 3"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_what_train_refuses(case, gan):
    changes, message = PLAIN[case]
    with pytest.raises(ValueError, match=message):
        train(*gan, **{"dataset": IMAGES, "latent_dim": LATENT_DIM, "n_epochs": 2, "n_batch": 8} | changes)


CONDITIONAL = {
    "labels missing": (IMAGES, "takes 2 input"),
    "fewer": ((IMAGES, LABELS[:9]), r"must be 16 integers; given: int64 of shape \(9,\)"),
    "one number": ((IMAGES, np.int64(1)), r"of shape \(\)"),
    "range": ((IMAGES, LABELS + 1), "from 1 to 3.* 3 classes"),
    "negative": ((IMAGES, LABELS - 1), "from -1"),
    "float": ((IMAGES, LABELS.astype("float32")), "integers; given: float32"),
    "one-hot": ((IMAGES, np.eye(3, dtype="int64")[LABELS]), "argmax"),
    "one-hot of as many classes as images": ((IMAGES, np.eye(16, dtype="int64")), "argmax"),
}


@pytest.mark.parametrize("case", CONDITIONAL)
def test_wrong_labels_are_refused(case, conditional):
    dataset, message = CONDITIONAL[case]
    with pytest.raises(ValueError, match=message):
        train(*conditional, dataset, LATENT_DIM, n_batch=8)
    with pytest.raises(ValueError, match=message):
        train_discriminator(conditional[1], dataset, n_batch=8)


def test_models_that_do_not_fit_together():
    g_model, d_model, gan_model = make_gan()
    never_compiled = keras.Model(d_model.inputs, d_model.outputs)
    other_g, other_d, other_gan = make_gan()
    not_compiled = keras.Model(gan_model.inputs, gan_model.outputs)
    for models, message in (
        ((g_model, never_compiled, gan_model), "d_model was never compiled"),
        ((g_model, d_model, not_compiled), "gan_model was never compiled"),
        ((g_model, other_d, gan_model), "not made from this d_model"),
        ((other_g, d_model, gan_model), "not made from this g_model"),
        ((g_model, d_model, other_gan), "not made from this g_model"),
    ):
        with pytest.raises(ValueError, match=message):
            train(*models, IMAGES, LATENT_DIM, n_batch=8)
    with pytest.raises(ValueError, match="never compiled"):
        train_discriminator(never_compiled, IMAGES, n_batch=8)


@pytest.mark.parametrize("metrics", [None, ["mse"], [keras.metrics.BinaryAccuracy()], {"answer": ["mse"]}])
def test_a_discriminator_without_accuracy(metrics):
    with pytest.raises(ValueError, match=r'metrics=\["accuracy"\]'):
        train(*with_metrics(metrics), IMAGES, LATENT_DIM, n_batch=8)


@pytest.mark.parametrize(
    "metrics",
    [
        ["accuracy"],
        pytest.param(
            [["accuracy"]], marks=pytest.mark.skipif(KERAS < (3, 15), reason="Keras itself takes no list in a list")
        ),
        {"answer": ["accuracy"]},
        ["mse", "accuracy"],
        [keras.metrics.BinaryAccuracy("accuracy")],
    ],
)
def test_accuracy_in_every_spelling_of_keras(metrics, accepted):
    with accepted:
        train(*with_metrics(metrics), IMAGES, LATENT_DIM, n_epochs=1, n_batch=8, verbose=0)


def with_metrics(metrics):
    g_model, d_model, _ = make_gan()
    answer = keras.layers.Identity(name="answer")(d_model.output)
    d_model = keras.Model(d_model.input, answer)
    d_model.compile(loss="binary_crossentropy", metrics=metrics)
    return g_model, d_model, define_gan(g_model, d_model)


def test_networks_for_images_of_any_size(monkeypatch):
    monkeypatch.undo()
    image = keras.Input((None, None, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    d_model = keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(x))
    d_model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    g_model = make_gan()[0]
    gan_model = define_gan(g_model, d_model)
    train_discriminator(d_model, IMAGES, n_iter=1, n_batch=8)
    assert train(g_model, d_model, gan_model, IMAGES, LATENT_DIM, 1, 8, verbose=0).epoch == [0]


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return IMAGES[8 * i : 8 * i + 8]


@pytest.mark.parametrize(
    ("data", "way"),
    [
        (lambda: Batches(), r"batches\[i\] for i in range\(len\(batches\)\)"),
        (lambda: (IMAGES[i : i + 8] for i in (0, 8)), "batch for batch in batches"),
        (lambda: "my_pictures", "load_image_folder"),
        (lambda: {"x_train": IMAGES}, "keys are x_train"),
        (lambda: ((IMAGES, LABELS), (IMAGES, LABELS)), "dataset, _ = load_dataset"),
    ],
)
def test_data_in_another_wrapping_is_told_the_way(data, way, gan):
    with pytest.raises(ValueError, match=way):
        train(*gan, data(), LATENT_DIM, n_batch=8)
    with pytest.raises(ValueError, match=way):
        train_discriminator(gan[1], data(), n_batch=8)


# ---- what the networks answer ----


def answering(activation, loss, metrics=("accuracy",), n_answers=1, last=layers.Flatten):
    image = keras.Input(SHAPE)
    d_model = keras.Model(image, layers.Dense(n_answers, activation=activation)(last()(image)))
    d_model.compile(loss=loss, metrics=list(metrics))
    return d_model


def with_a_class():
    image = keras.Input(SHAPE)
    flat = layers.Flatten()(image)
    answers = [layers.Dense(1, activation="sigmoid")(flat), layers.Dense(3, activation="softmax")(flat)]
    d_model = keras.Model(image, answers)
    d_model.compile(loss=["binary_crossentropy", "sparse_categorical_crossentropy"], metrics=[["accuracy"], None])
    return d_model


FROM_LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)
ABOVE_0 = [keras.metrics.BinaryAccuracy("accuracy", threshold=0)]


@pytest.mark.parametrize(
    ("d_model", "message"),
    [
        (lambda: answering(None, "binary_crossentropy"), 'activation="sigmoid"'),
        (lambda: answering("tanh", keras.losses.BinaryCrossentropy()), "run from -1 to"),
        (lambda: answering("relu", "bce"), 'activation="sigmoid"'),
        (lambda: answering("sigmoid", FROM_LOGITS, ABOVE_0), "take the sigmoid away"),
        (lambda: answering("sigmoid", "hinge", ABOVE_0), "either sign"),
        (lambda: answering(None, FROM_LOGITS), "threshold=0"),
        (lambda: answering(None, "hinge"), "threshold=0"),
        (lambda: answering("softmax", "binary_crossentropy", n_answers=2), r"\(None, 2\)"),
        (lambda: with_a_class(), r"several outputs want a step of your own"),
        (lambda: answering("sigmoid", "binary_crossentropy", last=layers.Identity), "GlobalAveragePooling2D"),
    ],
)
def test_a_discriminator_whose_answers_its_loss_cannot_take(d_model, message):
    d_model, g_model = d_model(), define_generator()
    with pytest.raises(ValueError, match=message):
        train(g_model, d_model, define_gan(g_model, d_model), IMAGES, LATENT_DIM, n_batch=8)
    with pytest.raises(ValueError, match=message):
        train_discriminator(d_model, IMAGES, n_batch=8)


@pytest.mark.parametrize(
    ("activation", "loss", "metrics"),
    [
        ("sigmoid", "binary_crossentropy", ["accuracy"]),
        ("hard_sigmoid", keras.losses.BinaryFocalCrossentropy(), ["accuracy"]),
        (None, FROM_LOGITS, ABOVE_0),
        ("softplus", FROM_LOGITS, ABOVE_0),
        (None, keras.losses.SquaredHinge(), ABOVE_0),
        (None, "mse", ["accuracy"]),
        ("sigmoid", "mse", ["accuracy"]),
        (None, lambda y, score: keras.ops.mean(y * score), ["accuracy"]),
    ],
)
def test_answers_that_suit_the_loss(activation, loss, metrics, accepted):
    state = np.random.get_state()[1].copy()
    d_model, g_model = answering(activation, loss, metrics), define_generator()
    train_discriminator(d_model, IMAGES, n_iter=0, n_batch=8)
    assert np.array_equal(state, np.random.get_state()[1])  # a look at the networks does not change the run
    with accepted:
        train(g_model, d_model, define_gan(g_model, d_model), IMAGES, LATENT_DIM, 1, 8, verbose=0)


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_a_generator_that_cannot_draw_dark(activation):
    g_model, d_model = define_generator(), define_discriminator()
    g_model = keras.Model(g_model.input, layers.Activation(activation)(g_model.output))
    with pytest.raises(ValueError, match='activation="tanh"'):
        train(g_model, d_model, define_gan(g_model, d_model), IMAGES, LATENT_DIM, n_batch=8)


def test_a_generator_that_starts_grey_or_has_turned_white(accepted):
    """All pixels at 0, and all at 1 for usual points: no reason to refuse a tanh."""
    for bias in (0.0, 3.0):
        g_model, d_model, gan_model = make_gan()
        g_model.layers[-1].bias.assign([bias])
        if bias == 0:
            g_model.layers[-1].kernel.assign(np.zeros(g_model.layers[-1].kernel.shape))
        with accepted:
            train(g_model, d_model, gan_model, IMAGES, LATENT_DIM, 1, 8, verbose=0)


def test_every_embedding_knows_the_labels():
    """That of the generator, and one in a network within a network."""
    (_, d_model, _), (g_model, _, _) = make_gan(n_classes=3), make_gan(n_classes=2)
    with pytest.raises(ValueError, match="generator's embedding has 2 classes"):
        train(g_model, d_model, define_gan(g_model, d_model), (IMAGES, LABELS), LATENT_DIM, n_batch=8)
    d_model = make_gan(n_classes=2)[1]
    image, label = keras.Input(SHAPE), keras.Input((1,))
    outer = keras.Model([image, label], d_model([image, label]))
    outer.compile(loss="binary_crossentropy", metrics=["accuracy"])
    with pytest.raises(ValueError, match="discriminator's embedding has 2 classes"):
        train_discriminator(outer, (IMAGES, LABELS), n_batch=8)


class Own(keras.Model):
    """A network with inputs that nobody knows before it runs."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1, activation="sigmoid")

    def call(self, x):
        return self.dense(layers.Flatten()(x))


def test_networks_without_known_inputs():
    own = Own()
    own.compile(loss="binary_crossentropy", metrics=["accuracy"])
    own(IMAGES)
    unbuilt = keras.Sequential([layers.Dense(64), layers.Reshape(SHAPE)])
    g_model, d_model, gan_model = make_gan()
    for call in (
        lambda: define_gan(g_model, own),
        lambda: define_gan(unbuilt, d_model),
        lambda: train_discriminator(own, IMAGES, n_batch=8),
        lambda: train(unbuilt, d_model, gan_model, IMAGES, LATENT_DIM, n_batch=8),
        lambda: define_composite_model(define_translator("g"), own, define_translator("h"), COLOUR),
        lambda: invert_generator(unbuilt, IMAGES),
    ):
        with pytest.raises(ValueError, match=r"keras.Input\(shape\)"):
            call()


def test_a_pair_that_does_not_fit_together():
    small = keras.Sequential([keras.Input((LATENT_DIM,)), layers.Dense(16), layers.Reshape((4, 4, 1))])
    with pytest.raises(ValueError, match=r"\(None, 4, 4, 1\), but the discriminator takes \(None, 8, 8, 1\)"):
        define_gan(small, define_discriminator())
    with pytest.raises(ValueError, match=r"takes 1 input\(s\), the discriminator 2"):
        define_gan(define_generator(), define_discriminator(n_classes=3))


# ---- CycleGAN ----

A, B = make_domains()
DOMAINS = {
    "one array": (dict(dataset=A), "two NumPy arrays"),
    "training and test": (dict(dataset=((A, B), (A, B))), "first pair"),
    "three": (dict(dataset=(A, B, A)), "two NumPy arrays"),
    "lists": (dict(dataset=(list(A), B)), "two NumPy arrays"),
    "tensors": (dict(dataset=(keras.ops.convert_to_tensor(A), B)), "train_a must be a NumPy array; .*np.asarray"),
    "rank": (dict(dataset=(A[..., 0], B)), r"train_a .*\(n, 8, 8, 3\).*given: \(6, 8, 8\)"),
    "size": (dict(dataset=(A, B[:, :4])), r"train_b .*given: \(4, 4, 8, 3\)"),
    "channels": (dict(dataset=(A, B[..., :1])), r"train_b .*given: \(4, 8, 8, 1\)"),
    "A empty": (dict(dataset=(A[:0], B)), "train_a holds 0 images"),
    "B empty": (dict(dataset=(A, B[:0])), "train_b holds 0 images"),
    "range": (dict(dataset=(A, B.astype("float32"))), r"train_b .*\[-1, 1\].*to_tanh"),
    "in [0, 1]": (dict(dataset=(A, B / np.float32(255))), "train_b have no value below 0"),
    "nan": (dict(dataset=(A * np.float32("nan"), B)), r"train_a .*\[-1, 1\].*nan"),
    "integers": (dict(dataset=(A.astype("int64"), B)), "train_a .*int64"),
    "large batch": (dict(n_batch=5), "train_b holds 4 images.*n_batch=5"),
    "no batch": (dict(n_batch=0), "n_batch is 0; .*at least 1"),
    "float batch": (dict(n_batch=1.0), r"n_batch is 1\.0"),
    "no epoch": (dict(n_epochs=0), "n_epochs is 0"),
}


@pytest.mark.parametrize("case", DOMAINS)
def test_what_train_cyclegan_refuses(case, six):
    changes, message = DOMAINS[case]
    with pytest.raises(ValueError, match=message):
        train_cyclegan(*six, **{"dataset": (A, B)} | changes)


def test_six_models_that_do_not_fit_together():
    models = d_A, d_B, g_AtoB, g_BtoA, c_AtoB, c_BtoA = make_cyclegan()
    with pytest.raises(ValueError, match="d_model_B was never compiled"):
        train_cyclegan(d_A, keras.Model(d_B.inputs, d_B.outputs), g_AtoB, g_BtoA, c_AtoB, c_BtoA, (A, B))
    remade = keras.Model(c_BtoA.inputs, c_BtoA.output)
    swapped = define_composite_model(g_BtoA, d_B, g_AtoB, COLOUR)
    for wrong, message in (
        ((d_A, d_B, g_AtoB, g_BtoA, c_BtoA, c_AtoB), "c_model_AtoB was not made"),
        ((d_A, d_B, g_AtoB, g_BtoA, swapped, c_BtoA), "c_model_AtoB was not made"),
        ((d_B, d_A, g_AtoB, g_BtoA, c_AtoB, c_BtoA), "c_model_AtoB was not made"),
        ((d_A, d_B, g_BtoA, g_AtoB, c_AtoB, c_BtoA), "c_model_AtoB was not made"),
        ((d_A, d_B, g_AtoB, define_translator("other"), c_AtoB, c_BtoA), "c_model_AtoB was not made"),
        ((define_discriminator(), *models[1:]), r"c_model_BtoA = .*\(g_model_BtoA, d_model_A, g_model_AtoB"),
        ((*models[:5], remade), "c_model_BtoA was not made"),
    ):
        with pytest.raises(ValueError, match=message):
            train_cyclegan(*wrong, (A, B))
    with pytest.raises(ValueError, match=r"of one size; given: \(8, 8, 3\) and \(4, 8, 3\)"):
        train_cyclegan(*make_cyclegan((None, None, 3)), (A, B[:, :4]))


@pytest.mark.parametrize("which", [0, 1, 4, 5])
def test_a_schedule_beside_the_loops_own(which):
    models = make_cyclegan()
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.9)
    models[which].compile(keras.optimizers.Adam(schedule), loss="mse")
    with pytest.raises(ValueError, match="learns at a rate with a schedule"):
        train_cyclegan(*models, (A, B))


def test_discriminators_of_different_patches():
    models = list(make_cyclegan())
    image = keras.Input(COLOUR)
    whole = keras.Model(image, keras.layers.Conv2D(1, 8)(image))
    whole.compile(loss="mse")
    models[1] = whole
    models[4] = define_composite_model(models[2], whole, models[3], COLOUR)
    with pytest.raises(ValueError, match=r"one shape; given: \(1, 4, 4, 1\) and \(1, 1, 1, 1\)"):
        train_cyclegan(*models, (A, B))


def test_translators_that_cannot_draw_dark_and_patches_that_are_no_probabilities():
    models = list(make_cyclegan())
    bright = keras.Model(models[2].input, layers.Activation("sigmoid")(models[2].output), name="bright")
    models[2] = bright
    models[4] = define_composite_model(bright, models[1], models[3], COLOUR)
    models[5] = define_composite_model(models[3], models[0], bright, COLOUR)
    with pytest.raises(ValueError, match="images of g_model_AtoB have no value below 0"):
        train_cyclegan(*models, (A, B))
    models = list(make_cyclegan())
    models[0].compile(loss="binary_crossentropy")
    models[5] = define_composite_model(models[3], models[0], models[2], COLOUR)
    with pytest.raises(ValueError, match="d_model_A answers with numbers"):
        train_cyclegan(*models, (A, B))
