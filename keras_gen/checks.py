"""What is verified before the first training step, so that a mistake costs a sentence and not an hour."""

import warnings
from numbers import Integral

import keras
import numpy as np

from .images import checked_images


def check_loop(n_epochs, n_steps, initial_epoch, verbose):
    """Raise ValueError unless the numbers describe a training of at least one step."""
    for name, value, least in (("n_epochs", n_epochs, 1), ("n_steps", n_steps, 1), ("initial_epoch", initial_epoch, 0)):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} is {value!r}; it must be a whole number, at least {least}.")
    if initial_epoch > n_epochs:
        raise ValueError(
            f"initial_epoch is {initial_epoch}, but n_epochs, the epoch to stop after, is {n_epochs}: give the number "
            "of epochs in all."
        )
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(f'verbose is {verbose!r}; it must be "auto", 0, 1 or 2.')


def check_images(name, images, image_shape, n_batch):
    """Raise ValueError unless `images` are an array of `image_shape` in a known range, at least `n_batch` of them."""
    if not isinstance(images, np.ndarray):
        raise ValueError(f"{name} must be a NumPy array; given: {type(images).__name__}. np.asarray makes one of it.")
    sides = zip((None, *image_shape), images.shape, strict=False)
    if images.ndim != len(image_shape) + 1 or any(wanted not in (None, given) for wanted, given in sides):
        shape = f"(n, {', '.join(map(str, image_shape))})"
        raise ValueError(f"{name} must be images of shape {shape}, which the models take; given: {images.shape}.")
    if not isinstance(n_batch, Integral) or n_batch < 1:
        raise ValueError(f"n_batch is {n_batch!r}; it must be a whole number, at least 1.")
    if n_batch > len(images):
        raise ValueError(f"{name} holds {len(images)} images, too few for n_batch={n_batch}: choose a smaller n_batch.")
    checked_images(images, (-1, 1), name)  # the range of the generator's tanh


def check_labels(labels, n_images, d_model):
    """Raise ValueError unless `labels` are integers `(n_images,)` that the discriminator's embedding knows."""
    if labels.shape not in ((n_images,), (n_images, 1)):
        raise ValueError(
            f"Labels must be one integer an image, shape ({n_images},); given: {labels.shape}. "
            "One-hot rows become integers with labels.argmax(axis=1)."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f'Labels must be integers; given: {labels.dtype}. labels.astype("int64") makes them so.')
    embeddings = [layer.input_dim for layer in d_model.layers if isinstance(layer, keras.layers.Embedding)]
    n_classes = min(embeddings, default=np.inf)
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(
            f"Labels run from {labels.min()} to {labels.max()}, but the discriminator's embedding has {n_classes} "
            "classes, counted from 0."
        )


def check_compiled(model, name):
    """Raise ValueError unless `model` was compiled."""
    if not model.compiled:
        raise ValueError(f'{name} was never compiled: call {name}.compile(loss="binary_crossentropy", ...) first.')


def split_dataset(dataset):
    """A data set as `images, labels`; labels are an array, or None where there are none.

    Raises:
        ValueError: for a tuple or list of another length than two.
    """
    if not isinstance(dataset, (tuple, list)):
        return dataset, None
    if len(dataset) != 2:
        raise ValueError(
            f"The data set must be an array of images, or (images, labels); given: a {type(dataset).__name__} of "
            f"{len(dataset)}."
        )
    return dataset[0], np.asarray(dataset[1])


def check_discriminator(d_model, dataset, n_batch):
    """Raise ValueError unless the discriminator is compiled with accuracy and fits the data set."""
    check_compiled(d_model, "d_model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras remarks on lambda losses, which only matter when a model is saved
        metrics = keras.tree.flatten(d_model.get_compile_config().get("metrics"))
    if "accuracy" not in [word for word in metrics if isinstance(word, str)]:
        raise ValueError('d_model must be compiled with metrics=["accuracy"], which the loop reports on either half.')
    images, labels = split_dataset(dataset)
    wanted = 1 if labels is None else 2
    if len(d_model.inputs) != wanted:
        given = "images alone" if labels is None else "(images, labels)"
        raise ValueError(f"The data set holds {given}, but the discriminator takes {len(d_model.inputs)} input(s).")
    check_images("The data set", images, d_model.inputs[0].shape[1:], n_batch)
    if n_batch % 2:
        raise ValueError(
            f"n_batch must be even, half of it real and half fake for the discriminator; given: {n_batch}."
        )
    if labels is not None:
        check_labels(labels, len(images), d_model)


def check_training(g_model, d_model, gan_model, dataset, latent_dim, n_batch):
    """Raise ValueError unless the three models and the data set fit together."""
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


def check_cyclegan(d_model_A, d_model_B, g_model_AtoB, g_model_BtoA, c_model_AtoB, c_model_BtoA, dataset, n_batch):
    """Raise ValueError unless the six models, the data set and the batch size fit together."""
    arrays = isinstance(dataset, (tuple, list)) and all(isinstance(images, np.ndarray) for images in dataset)
    if not arrays or len(dataset) != 2:
        raise ValueError(
            "The data set must be (train_a, train_b), two NumPy arrays of images: the first pair of what load_domains "
            "returns."
        )
    for a, b, c_model, g_model_1, d_model, g_model_2, images in (
        ("A", "B", c_model_AtoB, g_model_AtoB, d_model_B, g_model_BtoA, dataset[0]),
        ("B", "A", c_model_BtoA, g_model_BtoA, d_model_A, g_model_AtoB, dataset[1]),
    ):
        if not d_model.compiled:
            raise ValueError(f'd_model_{b} was never compiled: call d_model_{b}.compile(loss="mse", ...) first.')
        made_from = getattr(c_model, "made_from", lambda: ())()
        networks = (g_model_1, d_model, g_model_2)
        if [id(network) for network in made_from] != [id(network) for network in networks]:
            raise ValueError(
                f"c_model_{a}to{b} was not made from the models given: run c_model_{a}to{b} = define_composite_model("
                f"g_model_{a}to{b}, d_model_{b}, g_model_{b}to{a}, image_shape) again."
            )
        check_images(f"train_{a.lower()}", images, c_model.inputs[0].shape[1:], n_batch)
        for name, model in ((f"d_model_{b}", d_model), (f"c_model_{a}to{b}", c_model)):
            if isinstance(model.optimizer.get_config()["learning_rate"], dict):
                raise ValueError(
                    f"{name} learns at a rate with a schedule, but here the loop lets the rates fall: give its "
                    "optimizer a number, learning_rate=0.0002."
                )
    if dataset[0].shape[1:] != dataset[1].shape[1:]:  # possible where the networks take any size
        raise ValueError(
            f"Images of A and B must be of one size; given: {dataset[0].shape[1:]} and {dataset[1].shape[1:]}."
        )
    answers = [d_model.compute_output_shape((1, *dataset[0].shape[1:])) for d_model in (d_model_A, d_model_B)]
    if answers[0] != answers[1]:
        raise ValueError(f"Both discriminators must answer in one shape; given: {answers[0]} and {answers[1]}.")
