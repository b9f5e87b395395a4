"""Tiny systems of the lecture's shape for the tests: 8x8 images, a latent space of 4; and who moves in which step."""

import keras
import numpy as np
from keras import layers

from keras_gen import Couplings, define_composite_model, define_gan

KERAS = tuple(int(part) for part in keras.__version__.split(".")[:2])
LATENT_DIM = 4
SHAPE = (8, 8, 1)
COLOUR = (8, 8, 3)


def define_discriminator(batchnorm=False, n_classes=None):
    image = inputs = keras.Input(SHAPE)
    if n_classes:
        label = keras.Input((1,))
        plane = layers.Reshape(SHAPE)(layers.Dense(64)(layers.Embedding(n_classes, 5)(label)))
        image, inputs = layers.Concatenate()([image, plane]), [image, label]
    x = layers.Conv2D(6, 3, strides=2, padding="same")(image)
    if batchnorm:
        x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.Dropout(0.4, seed=1)(layers.Flatten()(x))  # without a seed torch draws from a state that no save holds
    d_model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x), name="discriminator")
    optimizer = keras.optimizers.Adam(learning_rate=2e-3, beta_1=0.5)
    d_model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return d_model


def define_generator(n_classes=None):
    x = inputs = keras.Input((LATENT_DIM,))
    if n_classes:
        label = keras.Input((1,))
        x = layers.Concatenate()([x, layers.Flatten()(layers.Embedding(n_classes, 5)(label))])
        inputs = [inputs, label]
    x = layers.LeakyReLU(negative_slope=0.2)(layers.Dense(4 * 4 * 6)(x))
    x = layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh")(layers.Reshape((4, 4, 6))(x))
    return keras.Model(inputs, x, name="generator")


def make_gan(batchnorm=False, n_classes=None):
    """g_model, d_model, gan_model."""
    g_model, d_model = define_generator(n_classes), define_discriminator(batchnorm, n_classes)
    return g_model, d_model, define_gan(g_model, d_model)


def make_dataset(n=128, n_classes=None, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (n, *SHAPE)).astype("float32")
    return images if n_classes is None else (images, rng.integers(0, n_classes, n))


def define_translator(name, shape=COLOUR):
    """A CycleGAN's generator."""
    inputs = keras.Input(shape)
    x = layers.GroupNormalization(groups=-1)(layers.Conv2D(2, 3, padding="same")(inputs))  # instance normalisation
    x = layers.Conv2D(COLOUR[-1], 3, padding="same", activation="tanh")(layers.LeakyReLU(negative_slope=0.2)(x))
    return keras.Model(inputs, x, name=name)


def define_patch_discriminator(name, shape=COLOUR):
    inputs = keras.Input(shape)
    x = layers.LeakyReLU(negative_slope=0.2)(layers.Conv2D(2, 4, strides=2, padding="same")(inputs))
    d_model = keras.Model(inputs, layers.Conv2D(1, 4, padding="same")(x), name=name)
    d_model.compile(loss="mse", optimizer=keras.optimizers.Adam(learning_rate=1e-3, beta_1=0.5))
    return d_model


def make_cyclegan(shape=COLOUR):
    """The six models, in the order of the training loop's arguments."""
    d_A, d_B = define_patch_discriminator("d_A", shape), define_patch_discriminator("d_B", shape)
    g_AtoB, g_BtoA = define_translator("g_AtoB", shape), define_translator("g_BtoA", shape)
    c_AtoB = define_composite_model(g_AtoB, d_B, g_BtoA, shape)
    return d_A, d_B, g_AtoB, g_BtoA, c_AtoB, define_composite_model(g_BtoA, d_A, g_AtoB, shape)


def make_domains(n_a=6, n_b=4, seed=0):
    """Dark images and bright ones, so that a test can tell them apart."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 100, (n_a, *COLOUR), "uint8"), rng.integers(150, 250, (n_b, *COLOUR), "uint8")


def weights(model):
    return [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]


def movement(before, model):
    return sum(float(np.abs(b - a).sum()) for b, a in zip(before, weights(model), strict=True))


def equal(one, other):
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def watch_steps(monkeypatch, *networks):
    """Record every step of a training: (model, x, y, logs, names of the networks whose weights moved).

    Trainable weights, taken when the watch begins: what BatchNormalization and Dropout count is no learning.
    """
    record, original = [], keras.Model.train_on_batch
    watched = {}
    for network in networks:
        network.trainable = True
        watched[network.name] = list(network.trainable_weights)

    def values():
        return {name: [keras.ops.convert_to_numpy(w).copy() for w in watched[name]] for name in watched}

    def spy(model, x, y=None, **options):
        before = values()
        logs = original(model, x, y, **options)
        after = values()
        record.append((model, x, y, logs, {name for name in watched if not equal(before[name], after[name])}))
        return logs

    monkeypatch.setattr(keras.Model, "train_on_batch", spy)
    return record


def constant_step():
    return {"loss": 1.0}


def a_model(name="player"):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name=name)
    model.compile("sgd", loss="mse")
    return model


def build_couplings(d, scale=0.5, **sizes):
    """Couplings with weights that move things: untrained ones do nothing."""
    flow = Couplings(**sizes)
    flow.build((None, d))
    rng = np.random.default_rng(6)
    flow.set_weights([rng.normal(size=w.shape) * scale for w in flow.get_weights()])
    return flow
