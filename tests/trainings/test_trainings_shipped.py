"""The models that come with the project are of the trainings' networks."""

import numpy as np
import pytest
from keras.tree import flatten

import keras_gen as kg
from trainings import (
    cifar10_acgan,
    cifar10_dcgan,
    digits_diffusion,
    digits_flow,
    digits_pixelcnn,
    faces_generator,
    faces_vae,
    horse2zebra,
    mnist_cgan,
)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("name", "define"),
    [
        ("faces_generator", faces_generator.define_generator),
        ("cifar10_dcgan", cifar10_dcgan.define_generator),
        ("cifar10_acgan", cifar10_acgan.define_generator),
        ("faces_vae", faces_vae.define_vae),
        ("digits_diffusion", digits_diffusion.define_unet),
        ("digits_flow", digits_flow.define_networks),
        ("digits_pixelcnn", digits_pixelcnn.define_pixelcnn),
        ("mnist_cgan", mnist_cgan.define_generator),
        ("horse2zebra", lambda: horse2zebra.define_translator("AtoB")),
        ("zebra2horse", lambda: horse2zebra.define_translator("BtoA")),
    ],
)
def test_they_draw_the_same_with_the_shipped_weights(name, define):
    ours, shipped = define(), kg.load_pretrained(name)
    ours.set_weights(shipped.get_weights())
    ours, shipped = (getattr(model, "decoder", model) for model in (ours, shipped))
    if name == "digits_diffusion":
        digits = kg.to_tanh(kg.load_dataset("digits")[1][0][:4])
        x, _ = kg.noised(digits, np.random.default_rng(0), np.arange(4))
    elif name == "digits_pixelcnn":
        x = kg.binarize(kg.to_unit(kg.load_dataset("digits")[1][0][:4]), seed=0)
    elif name == "digits_flow":
        rng = np.random.default_rng(0)
        x = [rng.standard_normal((4, *half.shape[1:])) for half in shipped.inputs]
    elif shipped.inputs[0].shape[-1] == 3:  # photographs, not points
        x = kg.to_tanh(kg.load_domains("fruits", 32)[1][0][:4])
    else:
        x = kg.generate_latent_points(shipped.inputs[0].shape[-1], 4, 10 if len(shipped.inputs) > 1 else None)
    for mine, theirs in zip(flatten(ours.predict(x, verbose=0)), flatten(shipped.predict(x, verbose=0)), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
