"""The VAE against NumPy, SciPy and quadrature."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import build_couplings
from scipy import stats

from keras_gen.flows import Couplings
from keras_gen.vae import VAE, Sampling, binarize, define_vae, elbo, iwae_bound, reconstruction_loss


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(7)


def draw_codes(n=64, latent_dim=3):
    rng = np.random.default_rng(1)
    z_mean, z_log_var = rng.normal(size=(2, n, latent_dim)).astype("float32")
    return z_mean, z_log_var


def kl_of_diagonal_gaussians(z_mean, z_log_var):
    return 0.5 * np.sum(z_mean**2 + np.exp(z_log_var) - 1 - z_log_var, axis=1, dtype="float64")


def build_networks(latent_dim=2, image_shape=(4, 4, 1), units=32, penalty=None):
    image = keras.Input(image_shape)
    h = layers.Dense(units, activation="tanh")(layers.Flatten()(image))
    encoder = keras.Model(image, [layers.Dense(latent_dim)(h), layers.Dense(latent_dim)(h)])
    pixels = layers.Dense(int(np.prod(image_shape)), activation="sigmoid", kernel_regularizer=penalty)
    return encoder, keras.Sequential([keras.Input((latent_dim,)), pixels, layers.Reshape(image_shape)])


def draw_stripes(n=210):
    """4x4 images of one bit each: the left or the right half is bright, one pixel in ten is wrong."""
    rng = np.random.default_rng(2)
    images = np.where(rng.random((n, 1, 1, 1)) < 0.5, 1.0, 0.0) * np.ones((1, 4, 2, 1))
    images = np.concatenate([images, 1 - images], axis=2)
    return np.abs(images - (rng.random(images.shape) < 0.1)).astype("float32")


# --- the sampling layer


@pytest.mark.every_backend
def test_kl_is_the_closed_form_and_the_monte_carlo_estimate():
    z_mean, z_log_var = draw_codes(n=4)
    sampling = Sampling(beta=2.5)
    sampling([z_mean, z_log_var])
    sigma = np.exp(0.5 * z_log_var)
    z = np.random.default_rng(0).normal(z_mean, sigma, size=(200_000, *z_mean.shape))
    log_ratio = stats.norm.logpdf(z, z_mean, sigma) - stats.norm.logpdf(z)
    monte_carlo = log_ratio.sum(axis=-1).mean()

    exact = kl_of_diagonal_gaussians(z_mean, z_log_var).mean()
    assert exact == pytest.approx(monte_carlo, rel=0.01)
    assert float(sampling.kl) == pytest.approx(exact, rel=1e-5)
    assert float(ops.convert_to_numpy(sampling.losses[0])) == pytest.approx(2.5 * exact, rel=1e-5)


def test_kl_of_the_prior_is_zero():
    sampling = Sampling()
    sampling([np.zeros((5, 3), "float32"), np.zeros((5, 3), "float32")])
    assert float(sampling.kl) == 0


@pytest.mark.every_backend
def test_mean_outside_training_and_noise_of_the_right_size_within():
    z_mean, z_log_var = (np.repeat(a[:1], 20_000, axis=0) for a in draw_codes())
    sampling = Sampling()
    np.testing.assert_array_equal(ops.convert_to_numpy(sampling([z_mean, z_log_var])), z_mean)
    first, second = (ops.convert_to_numpy(sampling([z_mean, z_log_var], training=True)) for _ in range(2))
    assert np.abs(first - second).mean() > 0.1
    np.testing.assert_allclose(first.mean(axis=0), z_mean[0], atol=0.06)
    np.testing.assert_allclose(first.std(axis=0), np.exp(0.5 * z_log_var[0]), rtol=0.03)


@pytest.mark.every_backend
def test_one_step_on_the_kl_alone_moves_the_encoder_by_its_gradient():
    """d KL / d z_mean = z_mean and d KL / d z_log_var = (sigma^2 - 1) / 2, averaged over the batch."""
    x = draw_codes(latent_dim=3)[0]
    inputs = keras.Input((3,))
    mean, log_var = layers.Dense(2, name="mean"), layers.Dense(2, name="log_var")
    model = keras.Model(inputs, Sampling(beta=0.5)([mean(inputs), log_var(inputs)]))
    model.compile(keras.optimizers.SGD(0.1), loss=lambda y, z: 0.0 * ops.sum(z, axis=-1))
    weights = [ops.convert_to_numpy(w) for w in model.trainable_weights]
    z_mean, z_log_var = x @ weights[0] + weights[1], x @ weights[2] + weights[3]

    model.train_on_batch(x, x)

    moved = [ops.convert_to_numpy(w) - before for w, before in zip(model.trainable_weights, weights, strict=True)]
    for d_kl, d_kernel, d_bias in ((z_mean, *moved[:2]), ((np.exp(z_log_var) - 1) / 2, *moved[2:])):
        np.testing.assert_allclose(d_kernel, -0.1 * 0.5 * x.T @ d_kl / len(x), atol=1e-5)
        np.testing.assert_allclose(d_bias, -0.1 * 0.5 * d_kl.mean(axis=0), atol=1e-5)


# --- the learned prior


@pytest.mark.every_backend
@pytest.mark.parametrize("training", [True, False])
def test_kl_to_a_learned_prior_is_estimated_from_draws(training):
    """Of one Gaussian, 20,000 times: the estimate's mean is the closed form where the couplings change nothing."""
    z_mean, z_log_var = (np.repeat(a[:1], 20_000, axis=0) for a in draw_codes())
    sampling = Sampling(beta=0.5, prior=Couplings(width=8))
    z = ops.convert_to_numpy(sampling([z_mean, z_log_var], training=training))
    exact = kl_of_diagonal_gaussians(z_mean[:1], z_log_var[:1])[0]
    assert float(sampling.kl) == pytest.approx(exact, abs=0.05)
    assert float(ops.convert_to_numpy(sampling.losses[0])) == pytest.approx(0.5 * float(sampling.kl), rel=1e-5)
    assert training != np.array_equal(z, z_mean)


# --- loss and model


def test_reconstruction_loss_is_the_bernoulli_log_likelihood_summed_over_pixels():
    rng = np.random.default_rng(3)
    x, x_hat = (rng.random((5, 4, 4, 3)) < 0.5).astype("float32"), rng.uniform(0.01, 0.99, (5, 4, 4, 3))
    loss = ops.convert_to_numpy(reconstruction_loss(x, x_hat))
    np.testing.assert_allclose(loss, -stats.bernoulli.logpmf(x, x_hat).sum(axis=(1, 2, 3)), rtol=1e-4)


def test_reconstruction_loss_is_finite_where_the_sigmoid_saturates():
    worst = ops.convert_to_numpy(reconstruction_loss(np.ones((1, 10)), np.zeros((1, 10))))
    assert worst == pytest.approx(10 * -np.log(1e-7), rel=1e-3)
    assert ops.convert_to_numpy(reconstruction_loss(np.ones((1, 10)), np.ones((1, 10)))) == pytest.approx(0, abs=1e-4)


@pytest.mark.every_backend
def test_curves_are_nats_per_image_and_add_up():
    encoder, decoder = build_networks()
    vae, x = define_vae(encoder, decoder, beta=3), draw_stripes(n=70)
    z_mean, z_log_var = encoder.predict(x, verbose=0)
    kl = kl_of_diagonal_gaussians(z_mean, z_log_var).mean()
    reconstruction = -stats.bernoulli.logpmf(x, vae.predict(x, verbose=0)).sum(axis=(1, 2, 3)).mean()

    curves = vae.evaluate(x, x, batch_size=32, verbose=0, return_dict=True)  # the last batch is smaller
    assert curves["kl"] == pytest.approx(kl, rel=1e-4)
    assert curves["reconstruction_loss"] == pytest.approx(reconstruction, rel=1e-4)
    assert curves["loss"] == pytest.approx(reconstruction + 3 * kl, rel=1e-4)
    vae.sampling.beta.assign(0.5)
    curves = vae.evaluate(x, x, batch_size=32, verbose=0, return_dict=True)
    assert curves["loss"] == pytest.approx(reconstruction + 0.5 * kl, rel=1e-4)


def test_a_weight_penalty_counts_in_the_loss_but_not_as_reconstruction():
    encoder, decoder = build_networks(penalty=keras.regularizers.L2(10))
    vae, x = define_vae(encoder, decoder), draw_stripes(n=32)
    curves = vae.evaluate(x, x, verbose=0, return_dict=True)
    penalty = 10 * np.sum(ops.convert_to_numpy(decoder.layers[0].kernel) ** 2)
    assert curves["loss"] - curves["kl"] - curves["reconstruction_loss"] == pytest.approx(penalty, rel=1e-3)


def test_fit_learns_the_stripes():
    """One bit (0.69 nats) and 16 noisy pixels (0.325 each): the truth costs 5.9 nats, knowing nothing 11.1."""
    vae, x = define_vae(*build_networks()), draw_stripes()
    vae.compile(keras.optimizers.Adam(0.02), loss=reconstruction_loss)
    history = vae.fit(x, x, epochs=30, verbose=0).history
    assert set(history) == {"loss", "reconstruction_loss", "kl"}
    assert history["loss"][0] > 10 and history["loss"][-1] < 8
    np.testing.assert_allclose(history["loss"], np.add(history["reconstruction_loss"], history["kl"]), rtol=1e-4)
    assert 5.5 < -elbo(vae, x, n_samples=10).mean() < 8


@pytest.mark.every_backend
def test_train_on_batch_learns_and_y_may_be_left_out():
    vae, x = define_vae(*build_networks()), draw_stripes()
    vae.compile(keras.optimizers.Adam(0.02), loss=reconstruction_loss)
    losses = []
    for _ in range(100):
        vae.reset_metrics()
        losses.append(float(vae.train_on_batch(x, return_dict=True)["reconstruction_loss"]))
    assert losses[0] > 10 and losses[-1] < 8


def test_beta_zero_lets_the_codes_cheat():
    """Without the KL term the distributions may shrink and drift apart, and their KL grows."""
    x, kl = draw_stripes(), {}
    for beta in (0, 1):
        vae = define_vae(*build_networks(), beta=beta)
        vae.compile(keras.optimizers.Adam(0.02), loss=reconstruction_loss)
        kl[beta] = vae.fit(x, x, epochs=12, verbose=0).history["kl"][-1]
    assert kl[0] > 2 * kl[1]


@pytest.mark.every_backend
def test_beta_can_be_phased_in_between_epochs():
    vae, x = define_vae(*build_networks()), draw_stripes()
    phase_in = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: vae.sampling.beta.assign(epoch / 2))
    history = vae.fit(x, x, epochs=3, verbose=0, callbacks=[phase_in]).history
    betas = np.subtract(history["loss"], history["reconstruction_loss"]) / history["kl"]
    np.testing.assert_allclose(betas, [0, 0.5, 1], atol=1e-3)


@pytest.mark.every_backend
def test_saved_and_loaded_it_gives_the_same_and_goes_on_training(tmp_path):
    prior = Couplings(n_couplings=3, width=7)
    vae, x = define_vae(*build_networks(), beta=0.3, prior=prior), draw_stripes()
    still = [ops.convert_to_numpy(w) for w in prior.trainable_weights]
    vae.fit(x, x, verbose=0)
    assert any(np.any(ops.convert_to_numpy(w) != s) for w, s in zip(prior.trainable_weights, still, strict=True))
    copy = VAE.from_config(vae.get_config()).sampling.prior
    assert (copy.n_couplings, copy.width) == (3, 7)
    assert isinstance(Sampling.from_config(vae.sampling.get_config()).prior, Couplings)
    assert Sampling.from_config(Sampling().get_config()).prior is None
    vae.save(tmp_path / "vae.keras")
    loaded = keras.models.load_model(tmp_path / "vae.keras")
    assert isinstance(loaded, VAE) and float(loaded.sampling.beta) == pytest.approx(0.3)
    assert float(VAE.from_config(vae.get_config()).sampling.beta) == pytest.approx(0.3)  # without the weights too
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), vae.predict(x, verbose=0))
    np.testing.assert_array_equal(iwae_bound(loaded, x, k=3), iwae_bound(vae, x, k=3))
    noise = ops.convert_to_numpy(vae.sampling.seed_generator.state)  # Keras does not save it
    loaded.sampling.seed_generator.state.assign(noise)
    curves = [model.fit(x, x, verbose=0, shuffle=False).history for model in (vae, loaded)]
    for name in ("loss", "reconstruction_loss", "kl"):  # Adam's state came along
        np.testing.assert_allclose(curves[0][name], curves[1][name], rtol=1e-5)


# --- the bounds


@pytest.fixture(scope="module", params=[1, 2], ids=["1-d latent", "2-d latent"])
def toy(request):
    """All 64 images of six binary pixels, a VAE whose encoder knows little, and the truth by quadrature."""
    keras.utils.set_random_seed(5)
    latent_dim = request.param
    encoder, decoder = build_networks(latent_dim, image_shape=(2, 3, 1), units=4)
    for layer in encoder.layers[
        -2:
    ]:  # mean near 0, sigma near 1.3: wider than the posteriors, so that k = 5000 is enough
        layer.set_weights([0.3 * layer.get_weights()[0], np.full(latent_dim, 0.5 * (layer is encoder.layers[-1]))])
    kernel, bias = np.random.default_rng(4).normal(size=(latent_dim, 6)) * 1.5, np.linspace(-1, 1, 6)
    decoder.layers[0].set_weights([kernel, bias])
    x = np.array(np.meshgrid(*[[0, 1]] * 6)).reshape(6, -1).T.reshape(-1, 2, 3, 1).astype("float32")

    axis = np.linspace(-9, 9, 181)
    z = np.stack(np.meshgrid(*[axis] * latent_dim), axis=-1).reshape(-1, latent_dim)
    cell = (axis[1] - axis[0]) ** latent_dim
    logits, bits = z @ kernel + bias, x.reshape(64, 6)
    log_likelihood = -(bits @ np.logaddexp(0, -logits).T + (1 - bits) @ np.logaddexp(0, logits).T)
    log_prior = stats.norm.logpdf(z).sum(axis=1)
    log_px = np.log(np.sum(np.exp(log_likelihood + log_prior) * cell, axis=1))

    z_mean, z_log_var = encoder.predict(x, verbose=0)
    q = np.exp(stats.norm.logpdf(z[None], z_mean[:, None], np.exp(0.5 * z_log_var[:, None])).sum(axis=-1)) * cell
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-6)
    exact_elbo = np.sum(q * log_likelihood, axis=1) - kl_of_diagonal_gaussians(z_mean, z_log_var)
    return define_vae(encoder, decoder, beta=7), x, log_px, exact_elbo


def test_quadrature_is_a_distribution_over_all_images(toy):
    _, _, log_px, exact_elbo = toy
    assert np.exp(log_px).sum() == pytest.approx(1, abs=1e-4)
    assert np.all(exact_elbo < log_px)


def test_elbo_is_the_quadrature_at_beta_one(toy):
    vae, x, _, exact_elbo = toy
    bound = elbo(vae, x, n_samples=2_000)
    assert bound.shape == (64,) and bound.dtype == "float64"
    np.testing.assert_allclose(bound, exact_elbo, atol=0.5)
    assert bound.mean() == pytest.approx(exact_elbo.mean(), abs=0.03)


def test_iwae_with_one_sample_is_the_elbo_on_average(toy):
    vae, x, _, exact_elbo = toy
    many = np.mean([iwae_bound(vae, np.repeat(x, 50, axis=0), k=1, seed=seed) for seed in range(2)])
    assert many == pytest.approx(exact_elbo.mean(), abs=0.2)


def test_iwae_grows_with_k_up_to_log_px(toy):
    vae, x, log_px, exact_elbo = toy
    bounds = [iwae_bound(vae, np.repeat(x, 8, axis=0), k=k).mean() for k in (2, 10, 50)]
    assert exact_elbo.mean() < bounds[0] < bounds[1] < bounds[2] < log_px.mean() + 0.01


def test_iwae_with_5000_samples_is_log_px(toy):
    vae, x, log_px, _ = toy
    some = slice(None, None, 4)
    np.testing.assert_allclose(iwae_bound(vae, x[some], k=5_000), log_px[some], atol=0.1)
    assert iwae_bound(vae, x[some], k=5_000).mean() == pytest.approx(log_px[some].mean(), abs=0.01)


def test_bounds_are_stable_far_below_what_exp_can_hold():
    encoder, decoder = build_networks(image_shape=(40, 40, 1))
    decoder.layers[0].set_weights([np.zeros((2, 1600)), np.full(1600, -8.0)])
    vae, x = define_vae(encoder, decoder), np.ones((3, 40, 40, 1), "float32")
    per_image = 1600 * -np.log1p(np.exp(8.0))  # about -12,800 nats; z does not matter
    assert np.all(iwae_bound(vae, x, k=5) < per_image + 50)
    np.testing.assert_allclose(iwae_bound(vae, x, k=5), per_image, atol=50)


def test_bounds_repeat_with_a_seed_whatever_the_block_size(toy, monkeypatch):
    vae, x, _, _ = toy
    first = iwae_bound(vae, x, k=3)
    assert not np.array_equal(first, iwae_bound(vae, x, k=3, seed=1))
    monkeypatch.setattr("keras_gen.vae.PAIRS_AT_ONCE", 50)  # blocks that split an image's samples
    np.testing.assert_allclose(iwae_bound(vae, x, k=3), first, rtol=1e-4)


def test_bounds_with_a_learned_prior_are_quadrature():
    """Of all 64 images of six pixels, under a prior that is no Gaussian."""
    encoder, decoder = build_networks(image_shape=(2, 3, 1), units=4)
    kernel, bias = np.random.default_rng(4).normal(size=(2, 6)) * 1.5, np.linspace(-1, 1, 6)
    decoder.layers[0].set_weights([kernel, bias])
    prior = build_couplings(2, scale=0.3, n_couplings=2, width=8)
    vae = define_vae(encoder, decoder, beta=7, prior=prior)
    x = np.array(np.meshgrid(*[[0, 1]] * 6)).reshape(6, -1).T.reshape(-1, 2, 3, 1).astype("float32")

    axis = np.linspace(-12, 12, 241)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype("float32")
    cell, log_prior = (axis[1] - axis[0]) ** 2, ops.convert_to_numpy(prior(z)).astype("float64")
    logits, bits = z @ kernel + bias, x.reshape(64, 6)
    log_likelihood = -(bits @ np.logaddexp(0, -logits).T + (1 - bits) @ np.logaddexp(0, logits).T)
    log_px = np.log(np.sum(np.exp(log_likelihood + log_prior) * cell, axis=1))
    assert np.exp(log_px).sum() == pytest.approx(1, abs=0.01)

    z_mean, z_log_var = encoder.predict(x, verbose=0)
    log_q = stats.norm.logpdf(z[None], z_mean[:, None], np.exp(0.5 * z_log_var[:, None])).sum(axis=-1)
    exact_elbo = np.sum(np.exp(log_q) * cell * (log_likelihood + log_prior - log_q), axis=1)
    assert elbo(vae, x, n_samples=1_000).mean() == pytest.approx(exact_elbo.mean(), abs=0.15)
    np.testing.assert_allclose(elbo(vae, x, n_samples=1_000), exact_elbo, atol=0.8)
    assert exact_elbo.mean() < log_px.mean() - 0.1
    assert iwae_bound(vae, x[::4], k=3_000).mean() == pytest.approx(log_px[::4].mean(), abs=0.1)


def test_binarize_draws_grey_levels():
    grey = np.full((1, 100, 100, 1), 0.3, "float32")
    drawn = binarize(grey, seed=0)
    assert set(np.unique(drawn)) == {0, 1} and drawn.dtype == "float32"
    assert drawn.mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(drawn, binarize(grey, seed=0))
    np.testing.assert_array_equal(binarize(np.eye(5), seed=0), np.eye(5))


# --- errors


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda e, d: (keras.Model(e.input, e.output[0]), d), "list of two is wanted"),
        (lambda e, d: (keras.Model(e.input, [*e.output, e.output[0]]), d), "list of two is wanted"),
        (lambda e, d: (keras.Model(e.input, dict(zip("ab", e.output, strict=True))), d), "list of two is wanted"),
        (lambda e, d: (e, build_networks(latent_dim=5)[1]), "check latent_dim"),
        (lambda e, d: (e, build_networks(image_shape=(3, 3, 1))[1]), "make the decoder's last layer"),
        (lambda e, d: (keras.Sequential([layers.Dense(2)]), d), "no known shapes"),
        (lambda e, d: (e, "decoder"), "no known shapes"),
    ],
)
def test_networks_that_do_not_fit_together(spoil, message):
    with pytest.raises(ValueError, match=message):
        define_vae(*spoil(*build_networks()))


BAD = {
    "0 to 255": lambda x: x * 255,
    "-1 to 1": lambda x: x * 2 - 1,
    "one pixel": lambda x: np.concatenate([x[:-1], x[-1:] + 0.01]),
    "nan": lambda x: x * np.nan,
    "none": lambda x: x[:0],
    "uint8": lambda x: (x * 255).astype("uint8"),
    "bits": lambda x: x > 0.5,
    "tensor": lambda x: ops.convert_to_tensor(x * 255),
}


@pytest.mark.parametrize("bad", BAD)
def test_images_outside_the_unit_interval(bad):
    vae, x = define_vae(*build_networks()), draw_stripes(n=8)
    bad = BAD[bad](x)
    for use in (
        vae.fit,
        vae.train_on_batch,
        lambda bad: vae.fit(x, bad),
        lambda bad: vae.train_on_batch(x, bad),
        lambda bad: elbo(vae, bad),
        lambda bad: iwae_bound(vae, bad),
        binarize,
    ):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            use(bad)


@pytest.mark.every_backend
@pytest.mark.parametrize("factor", [1, 255])
def test_what_a_generator_brings_is_looked_at_by_the_loss(factor):
    """`fit` cannot look ahead there: images in 0..255 cost nan, which every callback against nan sees."""
    vae, x = define_vae(*build_networks()), draw_stripes(n=32)

    def batches():
        while True:
            yield factor * x, factor * x

    history = vae.fit(batches(), steps_per_epoch=2, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])
    assert np.isfinite(history.history["loss"][0]) == (factor == 1)


def test_rounding_is_no_mistake():
    x, x_hat = np.float32([[-1e-4, 1 + 1e-4]]), np.float32([[0.5, 0.5]])
    assert ops.convert_to_numpy(reconstruction_loss(x, x_hat)) == pytest.approx(2 * np.log(2), rel=1e-3)
    assert np.isnan(ops.convert_to_numpy(reconstruction_loss(np.float32([[0, 1.01]]), x_hat)))
    assert np.isnan(ops.convert_to_numpy(reconstruction_loss(np.float32([[np.nan, 1]]), x_hat)))


def test_another_loss_may_have_another_range():
    vae, x = define_vae(*build_networks()), draw_stripes(n=8)
    vae.compile("adam", loss="mse")
    assert np.isfinite(vae.train_on_batch(x * 2 - 1, x * 2 - 1, return_dict=True)["loss"])


def test_other_misuse_is_named():
    encoder, decoder = build_networks()
    vae, x = define_vae(encoder, decoder), draw_stripes(n=8)
    for beta in (-1, np.nan):
        with pytest.raises(ValueError, match="0 or more"):
            define_vae(encoder, decoder, beta)
    with pytest.raises(ValueError, match="two latent dimensions"):
        define_vae(*build_networks(latent_dim=1), prior=Couplings())
    with pytest.raises(ValueError, match=r"\(8, 4, 4\) were given"):
        elbo(vae, x[..., 0])
    with pytest.raises(ValueError, match="1 is the least"):
        iwae_bound(vae, x, k=0)
    with pytest.raises(ValueError, match="define_vae"):
        elbo(decoder, x)


def test_a_bound_of_another_likelihood_is_no_bound():
    vae, x = define_vae(*build_networks()), draw_stripes(n=8)
    for compiled in (
        lambda: vae.compile("adam", loss="mse"),
        lambda: vae.compile("adam", loss=lambda x, y: (x - y) ** 2),
    ):
        compiled()
        for bound in (elbo, iwae_bound):
            with pytest.raises(ValueError, match="not compiled with reconstruction_loss"):
                bound(vae, x)
    with pytest.raises(ValueError, match="not compiled"):
        elbo(VAE(*build_networks()), x)
    vae.compile(loss=reconstruction_loss)
    assert np.isfinite(elbo(vae, x)).all()


@pytest.mark.parametrize("activation", ["tanh", "relu"])  # below 0, and above 1
def test_a_decoder_that_does_not_end_in_a_sigmoid(activation):
    encoder, decoder = build_networks()
    stretched = 10 * (decoder.outputs[0] - 0.5)
    decoder = keras.Model(decoder.inputs[0], keras.layers.Activation(activation)(stretched))
    vae = define_vae(encoder, decoder)
    x = np.zeros((4, 4, 4, 1), "float32")
    for call in (
        lambda: vae.fit(x, x, verbose=0),
        lambda: vae.train_on_batch(x, x),
        lambda: vae.evaluate(x, x, verbose=0),
        lambda: elbo(vae, x),
        lambda: iwae_bound(vae, x, k=2),
    ):
        with pytest.raises(ValueError, match='activation="sigmoid"'):
            call()
    vae.compile("adam", loss="mse")  # whose decoder may draw anything
    assert np.isfinite(vae.fit(x, x, verbose=0).history["loss"][0])


@pytest.mark.every_backend
def test_means_that_are_no_probabilities_cost_nan():
    x = np.zeros((3, 2, 2, 1), "float32")
    x_hat = np.full_like(x, 0.5)
    x_hat[1, 0, 0, 0], x_hat[2, 0, 0, 0] = 1.01, -0.01
    nats = keras.ops.convert_to_numpy(reconstruction_loss(x, x_hat))
    assert nats[0] == pytest.approx(4 * np.log(2), rel=1e-5) and np.isnan(nats[1:]).all()


def test_ranges_are_verified_wherever_images_come_in():
    vae = define_vae(*build_networks())
    x = np.zeros((4, 4, 4, 1), "float32")
    before = vae.get_weights()
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        vae.fit(x, x, validation_data=(x - 1, x - 1), verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, vae.get_weights(), strict=True))  # before the first epoch
    for call in (
        lambda: vae.evaluate(x - 1, x - 1, verbose=0),
        lambda: vae.test_on_batch(x - 1, x - 1),
    ):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            call()


@pytest.mark.every_backend
def test_binarize_takes_tensors_and_draws_others_each_time():
    grey = np.full((1000,), 0.5, "float32")
    one, other = binarize(keras.ops.convert_to_tensor(grey)), binarize(grey)
    assert isinstance(one, np.ndarray) and 0.3 < np.mean(one != other) < 0.7
