"""Every system under mixed precision, as a T4 (float16) or a newer GPU (bfloat16) wants it.

Networks compute in 16 bits and keep their weights in 32. Each system trains, is saved, is restored and is scored, and
what is counted in nats or as a penalty is what it is in float32.
"""

import keras
import numpy as np
import pytest
from keras import layers
from models import LATENT_DIM, SHAPE, equal, make_cyclegan, make_dataset, make_domains, make_gan, movement, weights

from keras_gen import (
    Couplings,
    GradientPenalty,
    Sampling,
    SaveRun,
    averaged_generator,
    define_gan,
    define_vae,
    elbo,
    invert_generator,
    iwae_bound,
    train,
    train_cyclegan,
)

FLOAT16, BFLOAT16 = POLICIES = ["mixed_float16", "mixed_bfloat16"]
pytestmark = pytest.mark.every_backend
both = pytest.mark.parametrize("policy", POLICIES)


@pytest.fixture(autouse=True)
def under(policy):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    yield
    keras.config.set_dtype_policy("float32")


def state(networks):
    return [weight for network in networks for weight in weights(network)]


def check_a_run(folder, build, train_on):
    """Train for two epochs, and restore the save; returns what goes on from there."""
    networks, models = build()
    before = [weights(network) for network in networks]
    history = train_on(models, 2, [SaveRun(folder, dict(zip(networks, through(models, networks), strict=True)))], 0)
    assert all(np.isfinite(values).all() for values in history.history.values())
    assert all(movement(old, network) > 0 for old, network in zip(before, networks, strict=True))
    assert all(weight.dtype == "float32" for network in networks for weight in network.trainable_weights)
    again, models = build()
    save = SaveRun(folder, dict(zip(again, through(models, again), strict=True)))
    assert save.restore() == 2 and equal(state(again), state(networks))
    return models, save


def through(models, networks):
    """The model through which each network learns."""
    if len(models) == 1:
        return models
    if len(models) == 3:
        return [models[2], models[1]]
    return [models[0], models[1], models[4], models[5]]


@pytest.mark.parametrize(("policy", "n_classes"), [(FLOAT16, 3), (BFLOAT16, None)])
def test_gan(tmp_path, n_classes):
    dataset = make_dataset(32, n_classes)

    def build():
        models = make_gan(batchnorm=True, n_classes=n_classes)
        return models[:2], models

    def train_on(models, n_epochs, callbacks, initial_epoch):
        return train(*models, dataset, LATENT_DIM, n_epochs, 16, callbacks, initial_epoch, verbose=0)

    models, save = check_a_run(tmp_path, build, train_on)
    assert train_on(models, 3, [save], 2).epoch == [0, 1, 2]


# PyTorch's convolutions have no gradient in float16 on a CPU.
@pytest.mark.parametrize("policy", [BFLOAT16 if keras.config.backend() == "torch" else FLOAT16])
def test_cyclegan(tmp_path):
    def build():
        models = make_cyclegan()
        return models[:4], models

    def train_on(models, n_epochs, callbacks, initial_epoch):
        return train_cyclegan(*models, make_domains(4, 4), n_epochs, 2, callbacks, initial_epoch, verbose=0)

    check_a_run(tmp_path, build, train_on)


@pytest.mark.parametrize(("policy", "learned_prior"), [(FLOAT16, True), (BFLOAT16, False)])
def test_vae(tmp_path, learned_prior):
    x = np.random.default_rng(0).uniform(0, 1, (64, 6)).astype("float32")

    def build():
        image, z = keras.Input((6,)), keras.Input((2,))
        encoder = keras.Model(image, [layers.Dense(2)(image), layers.Dense(2)(image)])
        prior = Couplings(2, 8) if learned_prior else None
        vae = define_vae(encoder, keras.Model(z, layers.Dense(6, activation="sigmoid")(z)), prior=prior)
        return [vae], [vae]

    def train_on(models, n_epochs, callbacks, initial_epoch):
        return models[0].fit(x, x, epochs=n_epochs, callbacks=callbacks, initial_epoch=initial_epoch, verbose=0)

    (vae,) = build()[0]
    before = weights(vae)
    history = train_on([vae], 2, [SaveRun(tmp_path, {vae: vae})], 0)
    assert all(np.isfinite(values).all() for values in history.history.values()) and movement(before, vae) > 0
    (again,) = build()[0]
    assert SaveRun(tmp_path, {again: again}).restore() == 2
    nats = elbo(again, x, n_samples=20)
    assert np.array_equal(nats, elbo(vae, x, n_samples=20))
    keras.config.set_dtype_policy("float32")
    (full,) = build()[0]
    full.set_weights(weights(vae))
    # Six pixels of 0.7 nats: 16 bits may cost a hundredth of a nat each.
    assert np.allclose(nats, elbo(full, x, n_samples=20), atol=0.1)
    assert np.allclose(iwae_bound(again, x, k=20), iwae_bound(full, x, k=20), atol=0.1)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.models.load_model(tmp_path / "vae.keras")
    ours, theirs = (
        model.predict(x, verbose=0).astype("float32") for model in (vae, loaded)
    )  # NumPy 1 knows no bfloat16
    assert np.allclose(ours, theirs, atol=1e-3)


@both
@pytest.mark.parametrize("log_var", [12.0, 0.01])
def test_kl_is_counted_in_float32(log_var):
    """exp(12) is beyond float16, and the difference of a small variance from the prior's is 0 in 16 bits."""
    sampling = Sampling()
    sampling([np.zeros((5, 1), "float32"), np.full((5, 1), log_var, "float32")])
    expected = 0.5 * (np.expm1(log_var) - log_var)
    assert float(keras.ops.convert_to_numpy(sampling.kl)) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("policy", ["float32"])
def test_couplings_are_counted_in_float32():
    z = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    full = Couplings(4, 16)
    full.build((None, 4))
    full.set_weights([np.random.default_rng(1).normal(size=w.shape) * 0.3 for w in full.get_weights()])
    expected = keras.ops.convert_to_numpy(full(z))
    for policy in POLICIES:
        keras.config.set_dtype_policy(policy)
        mixed = Couplings(4, 16)
        mixed.build((None, 4))
        mixed.set_weights(full.get_weights())
        assert np.allclose(keras.ops.convert_to_numpy(mixed(z)), expected, atol=1e-4)
        assert np.allclose(mixed.inverse(z), full.inverse(z), atol=1e-3)


@both
@pytest.mark.parametrize("length", [3.0, 1e-4])
def test_gradient_penalty(length):
    """Of a linear critic, whose slope is known; the square of a small one is 0 in float16."""
    critic = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1)])
    kernel = np.random.default_rng(0).normal(size=(64, 1))
    critic.set_weights([length * kernel / np.linalg.norm(kernel), np.zeros(1)])
    real, fake = keras.Input(SHAPE), keras.Input(SHAPE)
    scores = [critic(images) for images in GradientPenalty(critic)([real, fake])]
    model = keras.Model([real, fake], scores)
    model.compile("adam", loss=["mse", "mse"], loss_weights=[0.0, 0.0])
    images = make_dataset(8)
    before = weights(critic)
    loss = model.train_on_batch([images, -images], [np.ones((8, 1))] * 2, return_dict=True)["loss"]
    assert loss == pytest.approx(10 * (length - 1) ** 2, rel=0.02)
    for _ in range(20):  # the scale of float16's losses begins too high, and such steps are left out
        model.train_on_batch([images, -images], [np.ones((8, 1))] * 2)
    assert movement(before, critic) > 0


@both
def test_averaged_generator():
    g_model, d_model, _ = make_gan()
    gan_model = define_gan(g_model, d_model, keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5))
    steps = []
    collect = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(weights(g_model)))
    train(g_model, d_model, gan_model, make_dataset(32), LATENT_DIM, 2, 32, collect, verbose=0)
    for a, w1, w2 in zip(weights(averaged_generator(g_model, gan_model)), *steps, strict=True):
        assert np.allclose(a, (w1 + w2) / 2, atol=1e-5)


@both
def test_invert_generator():
    g_model = make_gan()[0]
    points = np.random.default_rng(0).normal(size=(2, LATENT_DIM)).astype("float32")
    images = keras.ops.convert_to_numpy(keras.ops.cast(g_model.predict_on_batch(points), "float32"))
    found = invert_generator(g_model, images, n_steps=80)
    again = keras.ops.convert_to_numpy(keras.ops.cast(g_model.predict_on_batch(found), "float32"))
    assert np.mean((again - images) ** 2) < 0.1 * np.mean(images**2)
