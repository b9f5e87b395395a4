"""The variational autoencoder: its sampling layer, its model, and how good it is in nats.

    vae = define_vae(encoder, decoder)           # encoder(x) -> [z_mean, z_log_var], decoder(z) -> x_hat in (0, 1)
    history = vae.fit(x, x, epochs=10)           # curves: loss = reconstruction_loss + beta * kl
    images = decoder.predict_on_batch(generate_latent_points(latent_dim, 25))
    -elbo(vae, x_test).mean(), -iwae_bound(vae, x_test, k=50).mean()

Everything is counted in nats per image: summed over pixels or latent dimensions, averaged over the batch. A mean over
pixels instead would make the KL hundreds of times too strong, and the encoder would ignore the image.

The prior is N(0, I), or is learned: `define_vae(encoder, decoder, prior=Couplings())`, see `flows.py`.

Kingma and Welling 2014, "Auto-Encoding Variational Bayes"; Burda et al. 2015, "Importance Weighted Autoencoders".
"""

import keras
import numpy as np
from keras import ops

from .checks import extremes, noise_points
from .flows import normal_logpdf
from .images import TOLERANCE, checked_images, to_numpy

PAIRS_AT_ONCE = 1_000  # (image, sample) pairs decoded together: some ten MB with a small convolutional decoder


@keras.saving.register_keras_serializable("keras_gen")
class Sampling(keras.layers.Layer):
    """[z_mean, z_log_var] -> z, drawn from q(z|x) = N(z_mean, exp(z_log_var)); all are `(n, latent_dim)`.

    While training, z = z_mean + sigma * noise (the reparametrisation trick: the noise carries no weights, so the
    gradient reaches mean and variance); otherwise z = z_mean. Each call adds the loss `beta * KL(q(z|x) || p(z))`,
    in nats, summed over latent dimensions and averaged over the batch: in closed form for N(0, I), else estimated from
    the draw. The last call's KL, without beta, stays readable as `kl`. All of it is counted in float32, whatever the
    networks compute in.

    Args:
        beta: weight of the KL term, 0 or more. It can be changed between epochs, for a KL that is phased in:
            `vae.sampling.beta.assign(0.1)`.
        prior: None for N(0, I), or a layer z `(n, latent_dim)` -> log p(z) `(n,)`, as `Couplings`.

    Raises:
        ValueError: where `beta` is below 0 or nan.
    """

    def __init__(self, beta=1.0, prior=None, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        if not beta >= 0:
            raise ValueError(f"beta is {beta}, but the weight of the KL term must be 0 or more; 1 is the plain VAE.")
        self.prior = prior
        self.seed_generator = keras.random.SeedGenerator()
        # Weights and not Python numbers: compiled functions see a changed beta, and hand the KL out on every backend.
        self.beta = self.add_weight(name="beta", initializer=keras.initializers.Constant(beta), trainable=False)
        self.kl = self.add_weight(name="kl", initializer="zeros", trainable=False)

    def build(self, input_shape):
        if self.prior is not None and not self.prior.built:  # one that was loaded, or used before, is
            self.prior.build(input_shape[0])

    def call(self, inputs, training=False):
        z_mean, z_log_var = inputs
        if training or self.prior is not None:
            noise = keras.random.normal(ops.shape(z_mean), dtype=z_mean.dtype, seed=self.seed_generator)
            z = z_mean + ops.exp(0.5 * z_log_var) * noise
        if self.prior is None:
            kl = 0.5 * ops.sum(ops.square(z_mean) + ops.exp(z_log_var) - 1.0 - z_log_var, axis=-1)
        else:  # log q(z|x) - log p(z), at a draw outside training too
            kl = normal_logpdf(noise) - 0.5 * ops.sum(z_log_var, axis=-1) - self.prior(z)
        kl = ops.mean(kl)
        self.add_loss(self.beta * kl)
        self.kl.assign(ops.stop_gradient(kl))
        return z if training else z_mean

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        prior = self.prior and keras.saving.serialize_keras_object(self.prior)
        return {**super().get_config(), "beta": float(ops.convert_to_numpy(self.beta)), "prior": prior}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "prior": keras.saving.deserialize_keras_object(config.get("prior"))})


@keras.saving.register_keras_serializable("keras_gen")
def reconstruction_loss(x, x_hat):
    """Compute -log p(x|z) of each image, in nats: binary cross-entropy summed over pixels; Keras averages the batch.

    Args:
        x: images in [0, 1], `(n, ...)`. One with a pixel outside, by more than rounding, costs nan, whatever brought it
            here: it has no such likelihood.
        x_hat: Bernoulli means, the output of a sigmoid, of the same shape. Keras clips them to [1e-7, 1 - 1e-7], so one
            pixel costs some 16 nats at most and the loss is never infinite. An image with a mean out of [0, 1] costs
            nan as well.

    Returns:
        A float32 tensor `(n,)`.
    """
    x, x_hat = ops.cast(x, "float32"), ops.cast(x_hat, "float32")
    pixels = tuple(range(1, len(x_hat.shape)))
    farthest = ops.maximum(ops.abs(x - 0.5), ops.abs(x_hat - 0.5))
    inside = ops.all(farthest <= 0.5 + TOLERANCE, axis=pixels)
    nats = ops.sum(ops.binary_crossentropy(ops.clip(x, 0, 1), x_hat), axis=pixels)  # torch refuses other x itself
    return ops.where(inside, nats, np.nan)


@keras.saving.register_keras_serializable("keras_gen")
class VAE(keras.Model):
    """decoder(Sampling(encoder(x))) as one model that knows its `encoder`, `sampling` and `decoder`; see `define_vae`.

    A model of its own, because Keras shows one `loss` only; this one also tracks `reconstruction_loss` and `kl`. Where
    no targets are given, the images are their own. Compiled with `reconstruction_loss`, training and evaluation raise
    ValueError on arrays and tensors that are not floats in [0, 1], and on a decoder that does not end in a sigmoid.

    Args:
        encoder, decoder, beta, prior: as in `define_vae`.

    Raises:
        ValueError: as in `define_vae`.
    """

    def __init__(self, encoder, decoder, beta=1.0, prior=None, **kwargs):
        _check_networks(encoder, decoder)
        image = keras.Input(encoder.input_shape[1:], name="image")
        sampling = Sampling(beta, prior, name="sampling")
        super().__init__(inputs=image, outputs=decoder(sampling(encoder(image))), **kwargs)
        self.encoder, self.sampling, self.decoder = encoder, sampling, decoder
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_tracker = keras.metrics.Mean(name="kl")
        self.decoder_is_checked = False

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y = x if y is None else y  # Keras would drop the reconstruction loss without a word
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        n_images = ops.shape(y_pred)[0]
        self.reconstruction_tracker.update_state(loss - sum(self.losses), sample_weight=n_images)
        self.kl_tracker.update_state(self.sampling.kl, sample_weight=n_images)
        return loss

    def fit(self, x=None, y=None, *args, **kwargs):
        validation = kwargs.get("validation_data")
        self._check_range(x, y, *(validation[:2] if isinstance(validation, (tuple, list)) else ()))
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        self._check_range(x, y)
        return super().evaluate(x, y, *args, **kwargs)

    def train_on_batch(self, x, y=None, *args, **kwargs):
        self._check_range(x, y)
        return super().train_on_batch(x, y, *args, **kwargs)

    def test_on_batch(self, x, y=None, *args, **kwargs):
        self._check_range(x, y)
        return super().test_on_batch(x, y, *args, **kwargs)

    def _check_range(self, *arrays):
        """Verify arrays and tensors; what a generator or a tf.data set brings, the loss itself looks at."""
        if self.compiled and self.loss is reconstruction_loss:
            if not self.decoder_is_checked:
                _check_decoder(self.decoder)
                self.decoder_is_checked = True
            for x in arrays:
                if isinstance(x, np.ndarray) or keras.ops.is_tensor(x):
                    _check_images(x)

    def get_config(self):
        parts = {"encoder": self.encoder, "decoder": self.decoder, "prior": self.sampling.prior}
        config = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {"name": self.name, "beta": self.sampling.get_config()["beta"], **config}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config.get(name), custom_objects=custom_objects)
            for name in ("encoder", "decoder", "prior")
        }
        return cls(**{**config, **parts})


def define_vae(encoder, decoder, beta=1.0, prior=None):
    """Join the two networks to a VAE, compiled with Adam(1e-3) and `reconstruction_loss`; train with `vae.fit(x, x)`.

    Call `vae.compile` again for another optimizer or loss. Outside training z is the mean, so validation curves look
    better than the bound: measure with `elbo`.

    Args:
        encoder: a built model, images `(n, ...)`, floats in [0, 1], to `[z_mean, z_log_var]`, each `(n, latent_dim)`.
        decoder: a built model, `(n, latent_dim)` to Bernoulli means in (0, 1), the images' shape.
        beta: weight of the KL term, 0 or more (above 1: Higgins et al. 2017, "beta-VAE"; 0: none).
        prior: None for N(0, I), or a layer z `(n, latent_dim)` -> log p(z) `(n,)` that is trained along: `Couplings()`.

    Returns:
        The compiled `VAE`.

    Raises:
        ValueError: where the two networks do not fit together or are not built, or `beta` is below 0 or nan.
    """
    vae = VAE(encoder, decoder, beta, prior)
    vae.compile(keras.optimizers.Adam(1e-3), loss=reconstruction_loss)
    return vae


def elbo(vae, x, n_samples=1, seed=0):
    """Compute the evidence lower bound on log p(x) of each image.

    The mean of log p(x|z) over `n_samples` draws from q(z|x), less the KL: exact for the prior N(0, I), else estimated
    from the same draws.

    Args:
        vae: a `VAE` compiled with `reconstruction_loss`.
        x: images as the encoder takes them, floats in [0, 1]; published figures need binary pixels (`binarize`).
        n_samples: draws for each image.
        seed: of the draws.

    Returns:
        float64 `(n,)`, in nats, at beta = 1 whatever the VAE trained with.

    Raises:
        ValueError: another model or loss, images of another shape or range or none, fewer than one sample.
    """
    log_likelihood, log_prior_ratio, kl = _draw(vae, x, n_samples, seed)
    return log_likelihood.mean(axis=1) - (kl if vae.sampling.prior is None else -log_prior_ratio.mean(axis=1))


def iwae_bound(vae, x, k=50, seed=0):
    """Compute the importance-weighted bound on log p(x) of each image (Burda et al. 2015).

    log of the mean over k draws of p(x|z) p(z) / q(z|x): for k = 1 the ELBO on average, and closer to log p(x) the
    larger k is. Time grows with n * k decoded images, memory does not.

    Args:
        vae, x, seed: as in `elbo`.
        k: draws from q(z|x) for each image.

    Returns:
        float64 `(n,)`, in nats.

    Raises:
        ValueError: as in `elbo`.
    """
    log_likelihood, log_prior_ratio, _ = _draw(vae, x, k, seed)
    log_weights = log_likelihood + log_prior_ratio
    largest = log_weights.max(axis=1, keepdims=True)  # exp would underflow to 0 without it
    return largest[:, 0] + np.log(np.mean(np.exp(log_weights - largest), axis=1))


def binarize(images, seed=None):
    """Draw each pixel as 0 or 1, with its grey level as the probability of 1.

    The data of the published MNIST likelihoods. Draw the training images anew each epoch ("dynamic"), the test images
    once with a fixed seed.

    Args:
        images: floats in [0, 1], any shape, at least one.
        seed: of the draws; None draws others each time.

    Returns:
        float32, the same shape; 0 or 1.

    Raises:
        ValueError: images of another range, or none.
    """
    images = to_numpy(images)
    _check_images(images)
    return (np.random.default_rng(seed).random(images.shape, dtype="float32") < images).astype("float32")


def _draw(vae, x, k, seed):
    """Draw k z ~ q(z|x) for each image: log p(x|z) and log p(z)/q(z|x), each (n, k), and KL(q || N(0, I)) (n,)."""
    if not isinstance(vae, VAE):
        raise ValueError(
            f"Got a {type(vae).__name__}, but the bound needs the VAE that define_vae(encoder, decoder) made."
        )
    if getattr(vae, "loss", None) is not reconstruction_loss:
        raise ValueError(
            "The bound counts nats of Bernoulli pixels, and this VAE was not compiled with reconstruction_loss, their "
            "likelihood. If its decoder means those after all: vae.compile(loss=reconstruction_loss)."
        )
    if k < 1:
        raise ValueError(f"{k} samples per image were asked for; 1 is the least.")
    x = to_numpy(x)
    if x.shape[1:] != vae.input_shape[1:]:
        raise ValueError(f"Images of shape {x.shape} were given, but the VAE takes {vae.input_shape}.")
    _check_images(x)
    _check_decoder(vae.decoder)
    z_mean, z_log_var = vae.encoder.predict(x, batch_size=1_000, verbose=0)
    log_prior = normal_logpdf if vae.sampling.prior is None else vae.sampling.prior
    rng = np.random.default_rng(seed)
    log_likelihood, log_prior_ratio = np.empty((2, len(x) * k))
    for start in range(0, len(x) * k, PAIRS_AT_ONCE):
        pairs = np.arange(start, min(start + PAIRS_AT_ONCE, len(x) * k))
        image = pairs // k
        noise = rng.standard_normal((len(pairs), z_mean.shape[1]), dtype="float32")
        z = z_mean[image] + np.exp(0.5 * z_log_var[image]) * noise
        x_hat = np.asarray(vae.decoder.predict_on_batch(z), "float32")
        loss = reconstruction_loss(x[image], x_hat)
        log_likelihood[pairs] = -ops.convert_to_numpy(loss)
        log_q = -0.5 * np.sum(noise**2 + np.log(2 * np.pi) + z_log_var[image], axis=1, dtype="float64")
        log_prior_ratio[pairs] = ops.convert_to_numpy(log_prior(z)) - log_q
    kl = 0.5 * np.sum(z_mean**2 + np.exp(z_log_var) - 1 - z_log_var, axis=1, dtype="float64")
    return log_likelihood.reshape(-1, k), log_prior_ratio.reshape(-1, k), kl


def _check_networks(encoder, decoder):
    """Raise ValueError unless encoder and decoder are built, and each one's output is what the other takes."""
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        if not (isinstance(network, keras.Model) and network.built and hasattr(network, "input_shape")):
            raise ValueError(
                f"The {name} has no known shapes; build it as a Sequential or functional model on keras.Input."
            )
    if not (isinstance(encoder.output, (list, tuple)) and len(encoder.output) == 2):
        raise ValueError(
            f"The encoder's output is {encoder.output_shape}, but a list of two is wanted, [z_mean, z_log_var]; "
            "leave the sampling to define_vae."
        )
    shapes = encoder.output_shape
    if not (shapes[0] == shapes[1] == decoder.input_shape and len(shapes[0]) == 2):
        raise ValueError(
            f"z_mean is {shapes[0]}, z_log_var {shapes[1]}, the decoder's input {decoder.input_shape}, but all three "
            "must be (None, latent_dim); check latent_dim in both networks."
        )
    if decoder.output_shape != encoder.input_shape:
        raise ValueError(
            f"The decoder draws {decoder.output_shape}, but the encoder takes {encoder.input_shape}; "
            "make the decoder's last layer give the images' shape."
        )


def _check_decoder(decoder):
    """Raise ValueError where the decoder draws numbers out of [0, 1], which are no probabilities."""
    low, high = extremes(decoder, [noise_points(decoder.input_shape[-1])])
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        raise ValueError(
            f"The decoder draws numbers that run from {low:.3g} to {high:.3g}, but reconstruction_loss takes "
            'probabilities: end it with activation="sigmoid", or compile the VAE with another loss.'
        )


def _check_images(x):
    """Raise ValueError unless the images are floats in [0, 1], at least one."""
    x = to_numpy(x)
    if x.dtype == np.uint8 or len(x) == 0:
        raise ValueError(
            f"{len(x)} {x.dtype} images were given, but Bernoulli pixels are floats in [0, 1]: to_unit(images)."
        )
    checked_images(x, (0, 1))
