"""What is verified before the first training step, so that a mistake costs a sentence and not an hour."""

import warnings
from collections.abc import Mapping
from numbers import Integral

import keras
import numpy as np

from .images import checked_images, way_to_an_array


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


def check_labels(labels, n_images, networks):
    """Raise ValueError unless `labels` are integers `(n_images,)` that every network's embedding knows.

    Args:
        labels: an array.
        n_images: how many labels there must be.
        networks: a dict, what an error calls each network, and the network.
    """
    if labels.shape not in ((n_images,), (n_images, 1)):
        raise ValueError(
            f"Labels must be one integer an image, shape ({n_images},); given: {labels.shape}. "
            "One-hot rows become integers with labels.argmax(axis=1)."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f'Labels must be integers; given: {labels.dtype}. labels.astype("int64") makes them so.')
    for name, network in networks.items():
        sizes = [layer.input_dim for layer in layers_of(network) if isinstance(layer, keras.layers.Embedding)]
        n_classes = min(sizes, default=np.inf)
        if labels.min() < 0 or labels.max() >= n_classes:
            raise ValueError(
                f"Labels run from {labels.min()} to {labels.max()}, but the {name}'s embedding has {n_classes} "
                "classes, counted from 0."
            )


def check_compiled(model, name):
    """Raise ValueError unless `model` was compiled."""
    if not model.compiled:
        raise ValueError(f'{name} was never compiled: call {name}.compile(loss="binary_crossentropy", ...) first.')


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
        check_labels(labels, len(images), {"discriminator": d_model})
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
        check_labels(labels, len(images), {"generator": g_model})
        inputs.append(np.resize(labels, (len(inputs[0]), 1)))
    check_generator_range("g_model", g_model, inputs)


def check_cyclegan(d_model_A, d_model_B, g_model_AtoB, g_model_BtoA, c_model_AtoB, c_model_BtoA, dataset, n_batch):
    """Raise ValueError unless the six models, the data set and the batch size fit together."""
    if not isinstance(dataset, (tuple, list)) or len(dataset) != 2 or isinstance(dataset[0], (tuple, list)):
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
        check_network(d_model, f"d_model_{b}")
        check_network(g_model_1, f"g_model_{a}to{b}")
        made_from = getattr(c_model, "made_from", lambda: ())()
        networks = (g_model_1, d_model, g_model_2)
        if [id(network) for network in made_from] != [id(network) for network in networks]:
            raise ValueError(
                f"c_model_{a}to{b} was not made from the models given: run c_model_{a}to{b} = define_composite_model("
                f"g_model_{a}to{b}, d_model_{b}, g_model_{b}to{a}, image_shape) again."
            )
        check_images(f"train_{a.lower()}", images, c_model.inputs[0].shape[1:], n_batch)
        for name, model in ((f"d_model_{b}", d_model), (f"c_model_{a}to{b}", c_model)):
            if not isinstance(unwrapped(model.optimizer).learning_rate, keras.Variable):
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
    noise = [noise_images(dataset[0].shape[1:], 1)]
    for name, d_model in (("d_model_A", d_model_A), ("d_model_B", d_model_B)):
        check_answers(name, d_model, noise)
    for name, g_model in (("g_model_AtoB", g_model_AtoB), ("g_model_BtoA", g_model_BtoA)):
        check_generator_range(name, g_model, noise)
