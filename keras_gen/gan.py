"""The lecture's GAN: samples, composite model and training loop.

One loop serves both kinds of GAN. A data set is an array of images, or `(images, labels)` for a conditional GAN; the
discriminator then takes `[image, label]` and the generator `[latent point, label]`. Images are float in [-1, 1], or
uint8, which a batch at a time is scaled to that.
"""

import os
import random

import keras
import numpy as np

from .checks import (
    check_accuracy,
    check_answers,
    check_array,
    check_compiled,
    check_embeddings,
    check_generator_range,
    check_images,
    check_network,
    layers_of,
    loss_of,
    noise_images,
    noise_points,
    unwrapped,
)
from .images import to_tanh
from .latent import generate_latent_points
from .loop import loop, train_only, train_step


def generate_real_samples(dataset, n_samples):
    """Draw real samples with the label 1.

    Args:
        dataset: images `(n, height, width, channels)`, or `(images, labels)` with integer labels `(n,)`.
        n_samples: how many, drawn with replacement.

    Returns:
        `x, y`: the images, uint8 ones scaled to [-1, 1], or `[images, labels]` with labels `(n_samples, 1)`; and ones
        `(n_samples, 1)`.
    """
    images, labels = split_dataset(dataset)
    ix = np.random.randint(0, len(images), n_samples)
    x = images[ix] if images.dtype != np.uint8 else to_tanh(images[ix])
    y = np.ones((n_samples, 1), "float32")
    return (x if labels is None else [x, labels[ix].reshape(-1, 1)]), y


def generate_fake_samples(g_model, latent_dim, n_samples, n_classes=None):
    """Let the generator make samples, with the label 0.

    The generator draws as it does when it is used: a batch normalisation in it goes by its moving averages, not by the
    batch as while it trains.

    Args:
        g_model: latent points, or `[points, labels]`, to images.
        latent_dim, n_samples, n_classes: as in `generate_latent_points`.

    Returns:
        `x, y`: the images, or `[images, labels]` where `n_classes` is given; and zeros `(n_samples, 1)`.
    """
    x_input = generate_latent_points(latent_dim, n_samples, n_classes)
    # The lecture has g_model.predict, which sets up a data pipeline at every call: 50 ms against 0.6.
    images = g_model.predict_on_batch(x_input)
    y = np.zeros((n_samples, 1), "float32")
    if n_classes is None:
        return images, y
    return [images, x_input[1]], y


def train_discriminator(d_model, dataset, n_iter=20, n_batch=128):
    """Warm the discriminator up on real images against random pixels, uniform in [-1, 1].

    The lecture's first step: it shows that the discriminator learns. Prints the accuracy on either half, a line an
    iteration. Data set and errors as in `train`.
    """
    check_discriminator(d_model, dataset, n_batch)
    half_batch = n_batch // 2
    d_model.trainable = True
    for i in range(n_iter):
        x_real, y_real = generate_real_samples(dataset, half_batch)
        real = train_step(d_model, x_real, y_real)
        images = x_real[0] if isinstance(x_real, list) else x_real
        pixels = np.random.uniform(-1, 1, images.shape).astype("float32")
        x_fake = [pixels, x_real[1]] if isinstance(x_real, list) else pixels
        fake = train_step(d_model, x_fake, np.zeros((half_batch, 1), "float32"))
        print(f">{i + 1} real={real['accuracy']:.0%} fake={fake['accuracy']:.0%}")


def define_gan(g_model, d_model, optimizer=None):
    """Stack generator and discriminator into the composite model that trains the generator (Radford et al. 2015).

    The discriminator is frozen here as in the lecture. Keras 3 reads that flag when a step runs, not when a model is
    compiled, so whoever trains must set it before every step: `True` before the discriminator's, `False` before the
    composite's. `train` does.

    Args:
        g_model: latent points `(n, latent_dim)`, or `[points, labels]`, to images. Not compiled: it never trains alone.
        d_model: images, or `[images, labels]`, to the probability of being real, `(n, 1)`. Compiled: the generator
            learns by the discriminator's own loss, so that logits, least squares or a hinge mean the same to both.
        optimizer: the generator's; by default the lecture's, Adam(0.0002, beta_1=0.5).

    Returns:
        The compiled composite model: the generator's inputs to the discriminator's answer.

    Raises:
        ValueError: where the two networks do not fit together, or their inputs are not known.
    """
    check_network(g_model, "g_model")
    check_network(d_model, "d_model")
    check_pair(g_model, d_model)
    d_model.trainable = False
    points, *labels = g_model.inputs
    inputs = [points, *labels] if labels else points
    images = g_model(inputs)
    gan_model = keras.Model(inputs, d_model([images, *labels] if labels else images), name="gan")
    # beta_1=0.5: Adam's 0.9 averages over ten steps, too slow for a target that moves with every one
    optimizer = optimizer or keras.optimizers.Adam(learning_rate=2e-4, beta_1=0.5)
    gan_model.compile(loss=loss_of(d_model) or "binary_crossentropy", optimizer=optimizer)
    return gan_model


def train(
    g_model,
    d_model,
    gan_model,
    dataset,
    latent_dim,
    n_epochs=200,
    n_batch=128,
    callbacks=(),
    initial_epoch=0,
    verbose="auto",
):
    """Train generator and discriminator in turns (Goodfellow et al. 2014, algorithm 1 with one step each).

    The discriminator learns from fakes as the generator makes them in its own step: a batch normalisation in it goes by
    the batch, where the lecture's `predict` goes by the moving averages, which are other pictures.

    Args:
        g_model, d_model, gan_model: the generator, the compiled discriminator and `define_gan` of the two.
        dataset: images, or `(images, labels)` for a conditional GAN; uint8, or float in [-1, 1]. Fakes are asked for
            the classes that occur among the labels, all equally often.
        latent_dim: size of the generator's latent input.
        n_batch: images a step, an even number: the discriminator sees half real, half fake ones.
        n_epochs, callbacks, initial_epoch, verbose: as in `loop`. The callbacks' `model` is `gan_model`.

    Returns:
        A `keras.callbacks.History` with the means of each epoch: `d_loss_real`, `d_loss_fake`, `g_loss` in the units of
        the discriminator's loss, nats for cross-entropy, and `d_acc_real`, `d_acc_fake` in [0, 1].

    Raises:
        ValueError: before the first step, where models and data do not fit together.
    """
    check_training(g_model, d_model, gan_model, dataset, latent_dim, n_batch)
    images, labels = split_dataset(dataset)
    classes = None if labels is None else np.unique(labels)
    half_batch, networks = n_batch // 2, (g_model, d_model)
    painter = as_it_trains(g_model)

    def step():
        # Phase 1: the discriminator learns from half a batch of real images and half a batch of fakes.
        x_real, y_real = generate_real_samples(images if labels is None else (images, labels), half_batch)
        real = train_only(d_model, networks, d_model, x_real, y_real)
        x_fake, y_fake = generate_fake_samples(painter, latent_dim, half_batch, classes)
        fake = train_only(d_model, networks, d_model, x_fake, y_fake)

        # Phase 2: the generator learns to have a full batch of fakes called real: inverted labels.
        x_gan = generate_latent_points(latent_dim, n_batch, classes)
        y_gan = np.ones((n_batch, 1), "float32")
        gan = train_only(g_model, networks, gan_model, x_gan, y_gan)

        logs = {"d_loss_real": real["loss"], "d_loss_fake": fake["loss"], "g_loss": gan["loss"]}
        return logs | {"d_acc_real": real["accuracy"], "d_acc_fake": fake["accuracy"]}

    return loop(step, gan_model, networks, n_epochs, len(images) // n_batch, callbacks, initial_epoch, verbose)


def as_it_trains(g_model):
    """The generator as its own training step calls it: itself, or a model around it that normalises by the batch."""
    normalises = any(isinstance(layer, keras.layers.BatchNormalization) for layer in layers_of(g_model))
    return AsItTrains(g_model) if normalises else g_model


class AsItTrains(keras.Model):
    """A model that is in training mode whenever it is called; a functional one would forget that in `predict`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs):
        return self.model(inputs, training=True)


def averaged_generator(g_model, gan_model, inputs=None):
    """A copy of the generator whose weights are running averages over the last training steps.

    The two players of a GAN circle around each other; the average of the generator's weights lies nearer to the middle
    of the circle than any single one (Yazici et al. 2019). Goes beyond the lecture. Keras's optimizers keep the average
    when asked to: `gan_model.compile(loss=..., optimizer=keras.optimizers.Adam(..., use_ema=True))`.

    The moving means and variances of a batch normalisation belong to the latest weights: those of the copy are measured
    anew, over 20 batches.

    Args:
        g_model: the generator.
        gan_model: the compiled model through which it learns.
        inputs: what the generator is shown for that, latent points `(n, latent_dim)` or `[points, labels]`; by default
            2,000 points from N(0, I). Without batch normalisation they are not needed.

    Returns:
        A model of the same kind, with weights of its own.

    Raises:
        ValueError: where the optimizer of `gan_model` keeps no average, trains another generator or has not trained
            yet; or where a batch normalisation needs the inputs of a conditional generator.
    """
    check_network(g_model, "g_model")
    optimizer = unwrapped(gan_model.optimizer)
    if not optimizer.use_ema:
        raise ValueError("gan_model's optimizer keeps no average: compile it with use_ema=True before training.")
    if not optimizer.built:
        raise ValueError("There is no average yet: gan_model has not trained a step.")
    # Keras pairs averages and weights by their place: all that the optimizer trains must be named, in its own order.
    learners = optimizer._trainable_variables
    known = {id(variable) for variable in learners}
    if not all(id(variable) in known for variable in g_model.trainable_variables):
        raise ValueError("gan_model trains another generator: give the one that it was made from.")
    if inputs is None:
        if len(g_model.inputs) > 1 and as_it_trains(g_model) is not g_model:
            raise ValueError(
                "The generator's batch normalisation is measured anew, on inputs that only you know: "
                "averaged_generator(g_model, gan_model, [points, labels]), such as 2,000 of generate_latent_points."
            )
        inputs = np.random.default_rng(0).standard_normal((2_000, g_model.inputs[0].shape[-1])).astype("float32")
    seeds = random.getstate()
    average = keras.models.clone_model(g_model)
    random.setstate(seeds)  # layers without a seed draw theirs there: a look at the average must not change the run
    latest = [keras.ops.convert_to_numpy(variable) for variable in learners]
    optimizer.finalize_variable_values(learners)  # the averages take the weights' place
    average.set_weights(g_model.get_weights())
    for variable, value in zip(learners, latest, strict=True):
        variable.assign(value)
    measure_batches(average, inputs)
    return average


def measure_batches(g_model, inputs):
    """Set every batch normalisation's moving mean and variance to the means over 20 batches of `inputs`."""
    norms = [layer for layer in layers_of(g_model) if isinstance(layer, keras.layers.BatchNormalization)]
    if not norms:
        return
    inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    momenta = [norm.momentum for norm in norms]
    g_model.trainable = True  # a frozen one would go by the moving averages
    for i, batch in enumerate(zip(*(np.array_split(x, 20) for x in inputs), strict=True)):
        for norm in norms:
            norm.momentum = i / (i + 1)  # the moving average of all batches so far is then their mean
        g_model(list(batch) if len(batch) > 1 else batch[0], training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def summarize_performance(epoch, g_model, d_model, dataset, latent_dim, n_samples=150, folder=None):
    """Print how often the discriminator is right about fresh real and fake samples; save the generator.

    Args:
        epoch: the epoch just finished, counted from 0 as in the loop; printed and saved counted from 1.
        n_samples: samples of each kind.
        folder: where to save `generator_epoch_NNN.keras`; None saves nothing.

    Returns:
        `acc_real, acc_fake`, in [0, 1].

    Raises:
        ValueError: where `n_samples` is less than 1.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; at least 1 is needed to measure an accuracy.")
    labels = split_dataset(dataset)[1]
    classes = None if labels is None else np.unique(labels)
    x_real, y_real = generate_real_samples(dataset, n_samples)
    x_fake, y_fake = generate_fake_samples(g_model, latent_dim, n_samples, classes)
    acc_real = d_model.evaluate(x_real, y_real, verbose=0, return_dict=True)["accuracy"]
    acc_fake = d_model.evaluate(x_fake, y_fake, verbose=0, return_dict=True)["accuracy"]
    print(f">epoch {epoch + 1}: accuracy real={acc_real:.0%} fake={acc_fake:.0%}")
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
        g_model.save(os.path.join(folder, f"generator_epoch_{epoch + 1:03d}.keras"))
    return acc_real, acc_fake


def split_dataset(dataset):
    """A data set as `images, labels`; labels are an array, or None where there are none.

    Raises:
        ValueError: for a tuple or list of another length than two, or of training and test part.
    """
    if not isinstance(dataset, (tuple, list)):
        return dataset, None
    if len(dataset) != 2:
        raise ValueError(
            f"The data set must be an array of images, or (images, labels); given: a {type(dataset).__name__} of "
            f"{len(dataset)}."
        )
    if all(isinstance(part, (tuple, list)) and len(part) == 2 for part in dataset):
        raise ValueError("Of what load_dataset returns take the training part: dataset, _ = load_dataset(name).")
    return dataset[0], np.asarray(dataset[1])


def check_pair(g_model, d_model):
    """Raise ValueError unless the discriminator takes what the generator makes, and both the same labels or none."""
    if len(g_model.inputs) != len(d_model.inputs):
        raise ValueError(
            f"The generator takes {len(g_model.inputs)} input(s), the discriminator {len(d_model.inputs)}: both take "
            "labels, or none. Another system wants a composite and a step of your own."
        )
    made, taken = g_model.output_shape, d_model.inputs[0].shape
    fits = len(made) == len(taken) and all(None in pair or pair[0] == pair[1] for pair in zip(made, taken, strict=True))
    if not fits:
        raise ValueError(f"The generator makes images of shape {made}, but the discriminator takes {taken}.")


def check_discriminator(d_model, dataset, n_batch):
    """Raise ValueError unless the discriminator is compiled with accuracy and fits the data set."""
    check_network(d_model, "d_model")
    check_compiled(d_model, "d_model")
    check_accuracy(d_model)
    images, labels = split_dataset(dataset)
    check_array("The data set", images)
    wanted = 1 if labels is None else 2
    if len(d_model.inputs) != wanted:
        given = "images alone" if labels is None else "(images, labels)"
        raise ValueError(f"The data set holds {given}, but the discriminator takes {len(d_model.inputs)} input(s).")
    image_shape = d_model.inputs[0].shape[1:]
    check_images("The data set", images, image_shape, n_batch)
    if n_batch % 2:
        raise ValueError(
            f"n_batch must be even, half of it real and half fake for the discriminator; given: {n_batch}."
        )
    if labels is not None:
        check_embeddings(labels, len(images), "discriminator", d_model)
    if d_model.output_shape != (None, 1):
        raise ValueError(
            f"d_model must give one answer an image, shape (None, 1); its output is {d_model.output_shape}. A map of "
            "answers becomes one by keras.layers.GlobalAveragePooling2D(); several outputs want a step of your own in "
            "`loop`."
        )
    inputs = [noise_images(images.shape[1:])]
    if labels is not None:
        inputs.append(np.resize(labels, (len(inputs[0]), 1)))
    check_answers("d_model", d_model, inputs)


def check_training(g_model, d_model, gan_model, dataset, latent_dim, n_batch):
    """Raise ValueError unless the three models and the data set fit together."""
    check_network(g_model, "g_model")
    check_discriminator(d_model, dataset, n_batch)
    check_compiled(gan_model, "gan_model")
    for model, name in ((g_model, "g_model"), (d_model, "d_model")):
        if not any(layer is model for layer in gan_model.layers):
            raise ValueError(
                f"gan_model was not made from this {name}, so it would train another one: "
                "call gan_model = define_gan(g_model, d_model) again."
            )
    wanted = g_model.inputs[0].shape[-1]
    if latent_dim != wanted:
        raise ValueError(f"latent_dim is {latent_dim}, but the generator takes points of {wanted} dimensions.")
    images, labels = split_dataset(dataset)
    inputs = [noise_points(latent_dim)]
    if labels is not None:
        check_embeddings(labels, len(images), "generator", g_model)
        inputs.append(np.resize(labels, (len(inputs[0]), 1)))
    check_generator_range("g_model", g_model, inputs)
