"""What is verified before the first training step, so that a mistake costs a sentence and not an hour."""

import warnings
from collections.abc import Mapping
from numbers import Integral

import keras
import numpy as np

from .images import checked_images, to_numpy, way_to_an_array


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


def unwrapped(optimizer):
    """The optimizer itself: under the policy "mixed_float16" Keras wraps it in one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def check_network(network, name):
    """Raise ValueError unless a network's inputs and outputs are known before it runs."""
    built = isinstance(network, keras.Model) and network.built
    if not built or not getattr(network, "inputs", None) or not hasattr(network, "outputs"):
        raise ValueError(
            f"{name} has no known inputs: build it as a Sequential or functional model that begins with "
            f"keras.Input(shape), or wrap your own: x = keras.Input(shape); {name} = keras.Model(x, your_model(x))."
        )


def check_array(name, images):
    """Raise ValueError, with the way to an array, unless `images` are a NumPy array."""
    if not isinstance(images, np.ndarray):
        raise ValueError(f"{name} must be a NumPy array; given: {type(images).__name__}. {way_to_an_array(images)}")


def check_images(name, images, image_shape, n_batch):
    """Raise ValueError unless `images` are an array of `image_shape` in a known range, at least `n_batch` of them."""
    check_array(name, images)
    sides = zip((None, *image_shape), images.shape, strict=False)
    if images.ndim != len(image_shape) + 1 or any(wanted not in (None, given) for wanted, given in sides):
        shape = f"(n, {', '.join(map(str, image_shape))})"
        raise ValueError(f"{name} must be images of shape {shape}, which the models take; given: {images.shape}.")
    if not isinstance(n_batch, Integral) or n_batch < 1:
        raise ValueError(f"n_batch is {n_batch!r}; it must be a whole number, at least 1.")
    if n_batch > len(images):
        raise ValueError(f"{name} holds {len(images)} images, too few for n_batch={n_batch}: choose a smaller n_batch.")
    checked_images(images, None, name)


def layers_of(network):
    """All layers of a network, those of the networks within it too."""
    for layer in network.layers:
        yield layer
        yield from layers_of(layer) if hasattr(layer, "layers") else ()


def checked_labels(labels, n_images, n_classes=None):
    """Verify labels, one for each image.

    Args:
        labels: integers `(n_images,)` or `(n_images, 1)`, 0 to n_classes - 1.
        n_images: how many there must be, at least 1.
        n_classes: how many classes there are; None allows any number.

    Returns:
        int64 `(n_images,)`.

    Raises:
        ValueError: labels that are not integers, of another shape or of another class, or none.
    """
    labels = to_numpy(labels)
    if n_images == 0:
        raise ValueError("There are no labels.")
    if labels.dtype.kind not in "iu" or labels.shape not in ((n_images,), (n_images, 1)):
        way = ""
        if labels.ndim == 2 and labels.shape[1] > 1:
            way = " One-hot rows become integers with labels.argmax(axis=1)."
        elif labels.dtype.kind in "fb":
            way = ' labels.astype("int64") makes them so.'
        elif labels.dtype.kind in "OUS":
            way = " Names become integers with np.unique(labels, return_inverse=True)[1]."
        raise ValueError(f"Labels must be {n_images} integers; given: {labels.dtype} of shape {labels.shape}.{way}")
    if labels.min() < 0 or (n_classes is not None and labels.max() >= n_classes):
        classes = "classes are counted from 0" if n_classes is None else f"the classes are 0 to {n_classes - 1}"
        raise ValueError(f"Labels run from {labels.min()} to {labels.max()}; {classes}.")
    return labels.reshape(-1).astype(np.int64)


def check_embeddings(labels, n_images, name, network):
    """Raise ValueError unless `labels` are integers, one for each image, that a network's embeddings know."""
    labels = checked_labels(labels, n_images)
    sizes = [layer.input_dim for layer in layers_of(network) if isinstance(layer, keras.layers.Embedding)]
    if labels.max() >= min(sizes, default=np.inf):
        raise ValueError(
            f"Labels run from {labels.min()} to {labels.max()}, but the {name}'s embedding has {min(sizes)} classes, "
            "counted from 0."
        )


def check_compiled(model, name):
    """Raise ValueError unless `model` was compiled."""
    if not model.compiled:
        raise ValueError(f'{name} was never compiled: call {name}.compile(loss="binary_crossentropy", ...) first.')


def loss_of(model):
    """The loss that a model was compiled with, one for each of several outputs; None where there is none."""
    loss = model.loss
    if isinstance(loss, Mapping):
        loss = [loss.get(name) for name in model.output_names]
    single = len(model.outputs) == 1 and isinstance(loss, (list, tuple)) and len(loss) == 1
    return loss[0] if single else loss


def kind_of_answers(loss):
    """What a loss of Keras takes: a "probability", a "logit", a number of either "sign"; None of any other loss."""
    if isinstance(loss, (list, tuple)):  # of several outputs
        return None
    loss = keras.losses.get(loss)
    entropies = keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy
    if isinstance(loss, entropies):
        return "logit" if loss.from_logits else "probability"
    if loss in (keras.losses.binary_crossentropy, keras.losses.binary_focal_crossentropy):
        return "probability"
    hinges = keras.losses.Hinge, keras.losses.SquaredHinge
    if isinstance(loss, hinges) or loss in (keras.losses.hinge, keras.losses.squared_hinge):
        return "sign"
    return None


def extremes(network, inputs):
    """The smallest and the largest number that a network makes of inputs, and of inputs a hundred times as large.

    An activation shows itself there: a sigmoid stays within [0, 1], a tanh reaches below 0, a linear layer goes beyond
    both. Whole numbers, which are labels, stay as they are.
    """
    large = [100 * x if x.dtype.kind == "f" else x for x in inputs]
    made = []
    for x in (inputs, large):
        out = network(x if len(x) > 1 else x[0], training=False)
        made.append(np.asarray(keras.ops.convert_to_numpy(out), "float32"))
    made = np.concatenate([np.ravel(out) for out in made])
    made = made[np.isfinite(made)]  # a network that is nan is another mistake
    return float(made.min(initial=np.inf)), float(made.max(initial=-np.inf))


def noise_images(image_shape, n=8):
    """Random float32 images in [-1, 1] that leave all global seeds as they are."""
    return np.random.default_rng(0).uniform(-1, 1, (n, *image_shape)).astype("float32")


def noise_points(latent_dim, n=8):
    """Points from N(0, I), float32 `(n, latent_dim)`, that leave all global seeds as they are."""
    return np.random.default_rng(0).standard_normal((n, latent_dim)).astype("float32")


def check_answers(name, d_model, inputs):
    """Raise ValueError where a discriminator's answers are none that its loss takes."""
    kind = kind_of_answers(loss_of(d_model))
    if kind is None:
        return
    low, high = extremes(d_model, inputs)
    inside = 0 <= low < high <= 1
    if kind == "probability" and (low < -1e-3 or high > 1 + 1e-3):
        raise ValueError(
            f"{name} answers with numbers that run from {low:.3g} to {high:.3g}, but its loss takes probabilities: end "
            'it with activation="sigmoid", or compile it with keras.losses.BinaryCrossentropy(from_logits=True).'
        )
    if kind == "logit" and inside:
        raise ValueError(
            f"{name} answers within [0, 1], as a sigmoid does, but its loss takes logits: take the sigmoid away, or "
            "from_logits=True."
        )
    if kind == "sign" and inside:
        raise ValueError(
            f"{name} answers within [0, 1], as a sigmoid does, but a hinge loss takes numbers of either sign: take "
            "the sigmoid away."
        )


def check_generator_range(name, g_model, inputs):
    """Raise ValueError where a generator's images cannot lie below 0, as half of the range [-1, 1] does."""
    low, high = extremes(g_model, inputs)
    if 0 <= low < high:
        raise ValueError(
            f'The images of {name} have no value below 0, but real ones lie in [-1, 1]: end it with activation="tanh".'
        )


def thresholds(metrics):
    """Above which answer each accuracy in a compiled model's list of metrics counts an image as real."""
    if isinstance(metrics, Mapping) and "class_name" in metrics:
        config = metrics.get("config")
        if isinstance(config, Mapping) and config.get("name") == "accuracy":
            yield config.get("threshold", 0.5)
    elif isinstance(metrics, Mapping):
        for part in metrics.values():
            yield from thresholds(part)
    elif isinstance(metrics, (list, tuple)):
        for part in metrics:
            yield from thresholds(part)
    elif metrics == "accuracy":
        yield 0.5


def check_accuracy(d_model):
    """Raise ValueError unless the discriminator is compiled with an accuracy that suits its answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras remarks on lambda losses, which only matter when a model is saved
        found = list(thresholds(d_model.get_compile_config().get("metrics")))
    if not found:
        raise ValueError('d_model must be compiled with metrics=["accuracy"], which the loop reports on either half.')
    if kind_of_answers(loss_of(d_model)) in ("logit", "sign") and 0 not in found:
        raise ValueError(
            "d_model answers with a number that is above 0 for real images, where accuracy counts from 0.5 on: compile "
            'it with metrics=[keras.metrics.BinaryAccuracy("accuracy", threshold=0)].'
        )
