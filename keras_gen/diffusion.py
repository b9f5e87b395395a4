"""Diffusion: images that are hidden in noise by degrees, and drawn by taking it away again.

    inputs, v = noised(images, rng, labels)                # a batch of a regression
    model.train_on_batch(inputs, v)                        # model([x_t, t, label]) -> v
    digits = sample_diffusion(model, 100, labels=np.repeat(np.arange(10), 10))

At the time t, 0 to 1, an image x is x_t = alpha x + sigma noise, with `noise_levels`. A network sees x_t and t, and
answers with v = alpha noise - sigma x (Salimans and Ho 2022, "Progressive distillation"), from which both parts follow
at every t: x = alpha x_t - sigma v, noise = sigma x_t + alpha v. One that takes labels is told label + 1; 0 says none.
"""

from itertools import pairwise
from numbers import Integral

import keras
import numpy as np

from .checks import check_network, checked_labels, layers_of
from .images import checked_images, to_numpy

ROWS_AT_ONCE = 500  # that a network answers together: some hundred MB with the course's own


def noise_levels(t):
    """Compute how much of an image and how much noise there is at a time.

    Args:
        t: times in [0, 1], of any shape: 0 is the image alone, 1 noise alone.

    Returns:
        `alpha, sigma`, float64 of the same shape: cos and sin of a quarter turn, so that their squares add up to 1.

    Raises:
        ValueError: a time out of [0, 1].
    """
    t = np.asarray(t, "float64")
    if not ((t >= 0) & (t <= 1)).all():  # nan too
        raise ValueError("A time lies out of [0, 1]: 0 is the image alone, 1 noise alone.")
    return np.cos(np.pi / 2 * t), np.sin(np.pi / 2 * t)


def noised(images, rng, labels=None, drop=0.15):
    """Hide images in noise: what a network learns to answer with, from what it sees.

    Args:
        images: floats in [-1, 1], `(n, ...)`.
        rng: a generator of NumPy's, or `np.random` itself, the global one, which `SaveRun` saves.
        labels: None, or classes, integers `(n,)` or `(n, 1)`, counted from 0.
        drop: the share of labels that are taken away, in [0, 1], so that the network learns to do without; `guidance`
            needs that (Ho and Salimans 2022).

    Returns:
        `[x_t, t], v`: the noisy images, their times `(n, 1)`, drawn evenly from [0, 1), and the targets, all float32;
        with labels `[x_t, t, told], v`, where `told` is int32 `(n, 1)`: label + 1, or 0 for no label.

    Raises:
        ValueError: images of another kind or range, labels that are not one integer an image, drop out of [0, 1].
    """
    images = _in_tanh_range(images, None, "The images")
    if not 0 <= drop <= 1:
        raise ValueError(f"drop is {drop!r}; it is the share of labels that are taken away, 0 to 1.")
    t = rng.random((len(images), 1))
    alpha, sigma = noise_levels(t.reshape(-1, *[1] * (images.ndim - 1)))
    noise = rng.standard_normal(images.shape)
    inputs = [(alpha * images + sigma * noise).astype("float32"), t.astype("float32")]
    if labels is not None:
        labels = checked_labels(labels, len(images))
        told = np.where(rng.random(len(images)) < drop, 0, labels + 1)
        inputs.append(told.astype("int32")[:, None])
    return inputs, (alpha * noise - sigma * images).astype("float32")


def sample_diffusion(model, n, n_steps=20, eta=0.0, labels=None, guidance=0.0, seed=0, known=None, repeats=1):
    """Draw images: from noise, in steps of equal time, to what the network takes for the image.

    Args:
        model: `[x_t, t]`, or `[x_t, t, label + 1]`, to v; trained on `noised`. Times and labels are `(n, 1)`.
        n: how many, at least 1.
        n_steps: calls of the network for an image, at least 1.
        eta: how much of the noise is drawn anew in each step, in [0, 1]. 0: none, the images follow from the first
            noise (DDIM, Song et al. 2021); 1: a step is a draw from the Gaussian that Bayes' rule gives for the way
            back, were the guess the image (DDPM, Ho et al. 2020).
        labels: the classes asked for, integers `(n,)` or `(n, 1)`, counted from 0. None: no label is told.
        guidance: how far to go beyond the answer with the label, away from that without: v + guidance (v - v_without).
            0 is the network's own; -1 the answer without a label. Costs two calls a step.
        seed: of the noise; NumPy's global generator is not used.
        known: pixels that are to stay, floats in [-1, 1] of shape `(n, ...)`; nan where a pixel is to be drawn. With
            eta=1 the others follow them best: with 0 they are bound to their first noise.
        repeats: how often each step is made, at least 1, each time after the first from noise that takes the image back
            to where the step began, so that the pixels to be drawn can come to fit the known ones (RePaint, Lugmayr et
            al. 2022). The first step begins at noise alone, the last one adds none: both are made once.

    Returns:
        float32 `(n, ...)` in [-1, 1].

    Raises:
        ValueError: a model with other inputs or outputs; numbers out of their range; labels for a model that takes none
            or of a class that it does not know; guidance without labels; known pixels of another shape or range.
    """
    told = _check_sampling(model, n, n_steps, eta, labels, guidance, repeats)
    shape = (n, *model.inputs[0].shape[1:])
    if known is not None:
        known = _check_known(known, shape)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    times = np.linspace(1, 0, n_steps + 1)
    for t, next_t in pairwise(times):
        (alpha, sigma), (next_alpha, next_sigma) = noise_levels(t), noise_levels(next_t)
        kept = alpha / next_alpha  # of the image at next_t, when noise takes it back to t
        fresh = eta * next_sigma / sigma * np.sqrt(1 - kept**2)  # none in the last step
        for repeat in range(repeats if t < 1 and next_t > 0 else 1):
            if repeat:
                x = kept * x + np.sqrt(1 - kept**2) * rng.standard_normal(shape)
            v = _answers(model, x, t, told, guidance)
            x_hat = np.clip(alpha * x - sigma * v, -1, 1)  # before the noise is reckoned: the two then make x still
            if known is not None:
                x_hat = np.where(np.isnan(known), x_hat, known)
            noise = (x - alpha * x_hat) / sigma
            x = next_alpha * x_hat + np.sqrt(next_sigma**2 - fresh**2) * noise
            if fresh:
                x = x + fresh * rng.standard_normal(shape)
    return x.astype("float32")


def _answers(model, x, t, told, guidance):
    """v of each image, float32; with guidance from one call for both answers."""
    inputs = [x.astype("float32"), np.full((len(x), 1), t, "float32")]
    if told is not None:
        inputs.append(told)
    if guidance == 0:
        return _in_batches(model, inputs)
    both = [np.concatenate([part, part]) for part in inputs]
    both[2][len(x) :] = 0
    v, without = np.split(_in_batches(model, both), 2)
    return v + guidance * (v - without)


def _in_batches(model, inputs):
    """The model's answers as float32. All batches are of one size: another one would be compiled anew."""
    n = len(inputs[0])
    size = min(n, ROWS_AT_ONCE)
    answers = []
    for start in range(0, n, size):
        rows = np.arange(start, start + size) % n  # the last batch is filled up from the first rows
        answers.append(np.asarray(model.predict_on_batch([part[rows] for part in inputs]), "float32"))
    return np.concatenate(answers)[:n]


def _in_tanh_range(images, value_range, what):
    """Floats in [-1, 1] as an array; else a ValueError that opens with `what`."""
    images, found = checked_images(images, value_range, what)
    if found == (0, 255):
        raise ValueError(f"{what} are uint8; wanted are floats in [-1, 1]: to_tanh(images).")
    return images


def _check_known(known, shape):
    """Known pixels as an array of `shape`, or a ValueError."""
    known = to_numpy(known)
    if known.shape != shape:
        raise ValueError(
            f"The known pixels have the shape {known.shape}; wanted is {shape}, an image for each that is drawn, with "
            "nan where a pixel is to be drawn."
        )
    _in_tanh_range(known[~np.isnan(known)], (-1, 1), "The known pixels")
    return known


def _check_sampling(model, n, n_steps, eta, labels, guidance, repeats):
    """Raise ValueError for what `sample_diffusion` cannot draw with; returns what the model is told, or None."""
    check_network(model, "model")
    image, *others = [tuple(part.shape[1:]) for part in model.inputs]
    if others not in ([(1,)], [(1,), (1,)]) or None in image or model.output_shape != (None, *image):
        raise ValueError(
            "model must map [images, times] or [images, times, labels], the last two of shape (None, 1), to answers of "
            f"the images' shape; it takes {[tuple(part.shape) for part in model.inputs]} and makes "
            f"{model.output_shape}."
        )
    for name, value in (("n", n), ("n_steps", n_steps), ("repeats", repeats)):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number, at least 1.")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta!r}; it is the share of the noise that is drawn anew, 0 to 1.")
    if not np.isfinite(guidance):
        raise ValueError(f"guidance is {guidance!r}; it must be a finite number.")
    if labels is None:
        if guidance != 0:
            raise ValueError("Guidance leads towards a label: give labels, one for each image.")
        return np.zeros((n, 1), "int32") if len(others) == 2 else None
    if len(others) == 1:
        raise ValueError("The model takes no labels: it has the inputs [images, times] only.")
    sizes = [layer.input_dim for layer in layers_of(model) if isinstance(layer, keras.layers.Embedding)]
    labels = checked_labels(labels, n, min(sizes) - 1 if sizes else None)  # one row of an embedding is no label's
    return (labels + 1).astype("int32")[:, None]
