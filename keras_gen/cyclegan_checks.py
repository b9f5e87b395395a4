"""What `train_cyclegan` verifies before its first step, so that a mistake costs a sentence and not an hour."""

import keras
import numpy as np


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
        identities = [layer for layer in c_model.layers if isinstance(layer, keras.layers.Identity)]
        makers = {layer.name: layer.input._keras_history.operation for layer in identities}
        wanted = {"adversarial": d_model, "identity": g_model_1, "forward_cycle": g_model_2}
        made = c_model.compiled and hasattr(c_model, "pool")
        if not made or any(makers.get(name) is not model for name, model in wanted.items()):
            raise ValueError(
                f"c_model_{a}to{b} was not made from the models given: run c_model_{a}to{b} = define_composite_model("
                f"g_model_{a}to{b}, d_model_{b}, g_model_{b}to{a}, image_shape) again."
            )
        check_domain(f"train_{a.lower()}", images, c_model.inputs[0].shape[1:], n_batch)
    if dataset[0].shape[1:] != dataset[1].shape[1:]:  # possible where the networks take any size
        raise ValueError(
            f"Images of A and B must be of one size; given: {dataset[0].shape[1:]} and {dataset[1].shape[1:]}."
        )
    answers = [d_model.compute_output_shape((1, *dataset[0].shape[1:])) for d_model in (d_model_A, d_model_B)]
    if answers[0] != answers[1]:
        raise ValueError(f"Both discriminators must answer in one shape; given: {answers[0]} and {answers[1]}.")


def check_domain(name, images, image_shape, n_batch):
    """Raise ValueError unless `images` are what the networks take, and at least `n_batch` of them."""
    sides = zip((None, *image_shape), images.shape, strict=False)
    if images.ndim != 4 or any(wanted not in (None, given) for wanted, given in sides):
        shape = f"(n, {', '.join(map(str, image_shape))})"
        raise ValueError(f"{name} must be images of shape {shape}, which the models take; given: {images.shape}.")
    if not 1 <= n_batch <= len(images):
        raise ValueError(f"{name} holds {len(images)} images, too few for n_batch={n_batch}; n_batch is at least 1.")
    if images.dtype != np.uint8:
        low, high = float(images.min()), float(images.max())
        if not np.issubdtype(images.dtype, np.floating) or not (low >= -1.001 and high <= 1.001):  # nan fails too
            raise ValueError(
                f"{name} must be uint8, or floats in [-1, 1], the range of the generator's tanh; given: {images.dtype} "
                f"in [{low:g}, {high:g}]. Floats in [0, 255] are scaled with images / 127.5 - 1."
            )
