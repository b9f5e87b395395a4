"""What is verified before the first training step, so that a mistake costs a sentence and not an hour."""

import warnings

import keras
import numpy as np


def check_images(images, n_batch, image_shape):
    """Raise ValueError unless `images` are floats in [-1, 1] of `image_shape`, at least `n_batch` of them."""
    shape = getattr(images, "shape", None)
    if shape is None:
        raise ValueError(f"The images must be a NumPy array; given: {type(images).__name__}.")
    if tuple(shape[1:]) != tuple(image_shape):
        raise ValueError(
            f"The discriminator wants images of shape (n, {', '.join(map(str, image_shape))}); given: {shape}."
        )
    if len(images) == 0:
        raise ValueError("The data set is empty: there is no image to learn from.")
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"The images are {images.dtype}, the generator's tanh makes floats in [-1, 1]: scale them with "
            'images.astype("float32") / 127.5 - 1, or take load_real_samples.'
        )
    low, high = float(images.min()), float(images.max())
    if not (low >= -1.001 and high <= 1.001):  # written so that nan fails too
        raise ValueError(
            f"The images must lie in [-1, 1], the range of the generator's tanh; given: [{low:g}, {high:g}]. "
            "Pixels in [0, 255] are scaled with images / 127.5 - 1."
        )
    if n_batch < 2 or n_batch % 2:
        raise ValueError(
            f"n_batch must be even, half of it real and half fake for the discriminator; given: {n_batch}."
        )
    if n_batch > len(images):
        raise ValueError(f"n_batch is {n_batch}, but the data set has {len(images)} images: choose a smaller n_batch.")


def check_labels(labels, n_images, d_model):
    """Raise ValueError unless `labels` are integers `(n_images,)` that the discriminator's embedding knows."""
    labels = np.asarray(labels)
    if labels.ndim != 1 and labels.shape != (len(labels), 1):
        raise ValueError(
            f"Labels must be one integer an image, shape (n,); given: {labels.shape}. "
            "One-hot rows become integers with labels.argmax(axis=1)."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f'Labels must be integers; given: {labels.dtype}. labels.astype("int64") makes them so.')
    if len(labels) != n_images:
        raise ValueError(f"Every image needs one label; given: {n_images} images and {len(labels)} labels.")
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


def check_discriminator(d_model, dataset, n_batch):
    """Raise ValueError unless the discriminator is compiled with accuracy and fits the data set."""
    check_compiled(d_model, "d_model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras remarks on lambda losses, which only matter when a model is saved
        metrics = d_model.get_compile_config().get("metrics") or []
    names = [metric["config"].get("name") if isinstance(metric, dict) else metric for metric in metrics]
    if "accuracy" not in names:
        raise ValueError('d_model must be compiled with metrics=["accuracy"], which the loop reports on either half.')
    images, labels = dataset if isinstance(dataset, tuple) else (dataset, None)
    wanted = 1 if labels is None else 2
    if len(d_model.inputs) != wanted:
        given = "images alone" if labels is None else "(images, labels)"
        raise ValueError(f"The data set holds {given}, but the discriminator takes {len(d_model.inputs)} input(s).")
    check_images(images, n_batch, d_model.inputs[0].shape[1:])
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
