"""The lecture's GAN: samples, composite model and training loop.

One loop serves both kinds of GAN. A data set is an array of images, or `(images, labels)` for a conditional GAN; the
discriminator then takes `[image, label]` and the generator `[latent point, label]`.
"""

import os

import keras
import numpy as np

from .callbacks import PrintProgress, StopOnNonFinite
from .checks import check_discriminator, check_training
from .latent import generate_latent_points

# Before Keras 3.15 train_on_batch returns the mean over all earlier calls; since then it resets its metrics itself.
RESETS_ITSELF = tuple(int(part) for part in keras.__version__.split(".")[:2]) >= (3, 15)


def generate_real_samples(dataset, n_samples):
    """Draw real samples with the label 1.

    Args:
        dataset: images `(n, height, width, channels)`, or `(images, labels)` with integer labels `(n,)`.
        n_samples: how many, drawn with replacement.

    Returns:
        `x, y`: the images, or `[images, labels]` with labels `(n_samples, 1)`; and ones `(n_samples, 1)`.
    """
    images, labels = dataset if isinstance(dataset, tuple) else (dataset, None)
    ix = np.random.randint(0, len(images), n_samples)
    y = np.ones((n_samples, 1), "float32")
    if labels is None:
        return images[ix], y
    return [images[ix], labels[ix].reshape(-1, 1)], y


def generate_fake_samples(g_model, latent_dim, n_samples, n_classes=None):
    """Let the generator make samples, with the label 0.

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


def train_step(model, x, y):
    """One `train_on_batch`; returns the logs of this batch alone as a dict of floats."""
    if not RESETS_ITSELF:  # twice would cost a small network a tenth of its step
        model.reset_metrics()
    return {name: float(value) for name, value in model.train_on_batch(x, y, return_dict=True).items()}


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
        pixels = np.random.uniform(-1, 1, (half_batch, *d_model.inputs[0].shape[1:])).astype("float32")
        x_fake = [pixels, x_real[1]] if isinstance(dataset, tuple) else pixels
        fake = train_step(d_model, x_fake, np.zeros((half_batch, 1), "float32"))
        print(f">{i + 1} real={real['accuracy']:.0%} fake={fake['accuracy']:.0%}")


def define_gan(g_model, d_model):
    """Stack generator and discriminator into the composite model that trains the generator (Radford et al. 2015).

    The discriminator is frozen here as in the lecture. Keras 3 reads that flag when a step runs, not when a model is
    compiled, so whoever trains must set it before every step: `True` before the discriminator's, `False` before the
    composite's. `train` does.

    Args:
        g_model: latent points `(n, latent_dim)`, or `[points, labels]`, to images. Not compiled: it never trains alone.
        d_model: images, or `[images, labels]`, to the probability of being real, `(n, 1)`. Compiled.

    Returns:
        The compiled composite model: the generator's inputs to the discriminator's answer.
    """
    d_model.trainable = False
    points, *labels = g_model.inputs
    inputs = [points, *labels] if labels else points
    images = g_model(inputs)
    gan_model = keras.Model(inputs, d_model([images, *labels] if labels else images), name="gan")
    # beta_1=0.5: Adam's 0.9 averages over ten steps, too slow for a target that moves with every one
    optimizer = keras.optimizers.Adam(learning_rate=2e-4, beta_1=0.5)
    gan_model.compile(loss="binary_crossentropy", optimizer=optimizer)
    return gan_model


def train(g_model, d_model, gan_model, dataset, latent_dim, n_epochs=200, n_batch=128, callbacks=(), initial_epoch=0):
    """Train generator and discriminator in turns (Goodfellow et al. 2014, algorithm 1 with one step each).

    Args:
        g_model, d_model, gan_model: the generator, the compiled discriminator and `define_gan` of the two.
        dataset: float images in [-1, 1], or `(images, labels)` for a conditional GAN.
        latent_dim: size of the generator's latent input.
        n_epochs: the epoch to stop after, counted from 0.
        n_batch: images a step, an even number: the discriminator sees half real, half fake ones.
        callbacks: Keras callbacks. Their `model` is `gan_model`.
        initial_epoch: where to go on, as `load_run` returns it.

    Returns:
        A `keras.callbacks.History` with the means of each epoch: `d_loss_real`, `d_loss_fake`, `g_loss` in nats, and
        `d_acc_real`, `d_acc_fake` in [0, 1].

    Raises:
        ValueError: before the first step, where models and data do not fit together.
    """
    check_training(g_model, d_model, gan_model, dataset, latent_dim, n_batch)
    conditional = isinstance(dataset, tuple)
    n_images, n_classes = (len(dataset[0]), int(dataset[1].max()) + 1) if conditional else (len(dataset), None)
    bat_per_epo = n_images // n_batch
    half_batch = n_batch // 2
    history = keras.callbacks.History()
    callbacks = keras.callbacks.CallbackList(
        [StopOnNonFinite(), PrintProgress(), *callbacks, history], model=gan_model, epochs=n_epochs, steps=bat_per_epo
    )
    gan_model.stop_training = False
    callbacks.on_train_begin()
    for epoch in range(initial_epoch, n_epochs):
        callbacks.on_epoch_begin(epoch)
        epoch_logs = []
        for batch in range(bat_per_epo):
            callbacks.on_train_batch_begin(batch)

            # Phase 1: the discriminator learns from half a batch of real images and half a batch of fakes.
            d_model.trainable = True  # Keras 3 looks at this flag in every step
            x_real, y_real = generate_real_samples(dataset, half_batch)
            real = train_step(d_model, x_real, y_real)
            x_fake, y_fake = generate_fake_samples(g_model, latent_dim, half_batch, n_classes)
            fake = train_step(d_model, x_fake, y_fake)

            # Phase 2: the generator learns to have a full batch of fakes called real: inverted labels.
            d_model.trainable = False
            x_gan = generate_latent_points(latent_dim, n_batch, n_classes)
            y_gan = np.ones((n_batch, 1), "float32")
            gan = train_step(gan_model, x_gan, y_gan)

            logs = {"d_loss_real": real["loss"], "d_loss_fake": fake["loss"], "g_loss": gan["loss"]}
            logs |= {"d_acc_real": real["accuracy"], "d_acc_fake": fake["accuracy"]}
            epoch_logs.append(logs)
            callbacks.on_train_batch_end(batch, logs)
            if gan_model.stop_training:
                break
        callbacks.on_epoch_end(epoch, {name: float(np.mean([logs[name] for logs in epoch_logs])) for name in logs})
        if gan_model.stop_training:
            break
    d_model.trainable = True  # a frozen model would be saved without its optimizer's state
    callbacks.on_train_end()
    return history


def averaged_generator(g_model, gan_model):
    """A copy of the generator whose weights are running averages over the last training steps.

    The two players of a GAN circle around each other; the average of the generator's weights lies nearer to the middle
    of the circle than any single one (Yazici et al. 2019). Goes beyond the lecture. Keras's optimizers keep the average
    when asked to: `gan_model.compile(loss=..., optimizer=keras.optimizers.Adam(..., use_ema=True))`.

    Raises:
        ValueError: where the optimizer of `gan_model` keeps no average.
    """
    if not gan_model.optimizer.use_ema:
        raise ValueError("gan_model's optimizer keeps no average: compile it with use_ema=True before training.")
    weights = g_model.get_weights()
    average = keras.models.clone_model(g_model)
    gan_model.optimizer.finalize_variable_values(g_model.trainable_variables)  # the averages take the weights' place
    average.set_weights(g_model.get_weights())
    g_model.set_weights(weights)
    return average


def summarize_performance(epoch, g_model, d_model, dataset, latent_dim, n_samples=150, folder=None):
    """Print how often the discriminator is right about fresh real and fake samples; save the generator.

    Args:
        epoch: the epoch just finished, counted from 0 as in the loop; printed and saved counted from 1.
        n_samples: samples of each kind.
        folder: where to save `generator_epoch_NNN.keras`; None saves nothing.

    Returns:
        `acc_real, acc_fake`, in [0, 1].
    """
    n_classes = int(dataset[1].max()) + 1 if isinstance(dataset, tuple) else None
    x_real, y_real = generate_real_samples(dataset, n_samples)
    x_fake, y_fake = generate_fake_samples(g_model, latent_dim, n_samples, n_classes)
    acc_real = d_model.evaluate(x_real, y_real, verbose=0, return_dict=True)["accuracy"]
    acc_fake = d_model.evaluate(x_fake, y_fake, verbose=0, return_dict=True)["accuracy"]
    print(f">epoch {epoch + 1}: accuracy real={acc_real:.0%} fake={acc_fake:.0%}")
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
        g_model.save(os.path.join(folder, f"generator_epoch_{epoch + 1:03d}.keras"))
    return acc_real, acc_fake
