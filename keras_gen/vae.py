"""The variational autoencoder: its sampling layer, its model, and how good it is in nats.

    vae = define_vae(encoder, decoder)           # encoder(x) -> [z_mean, z_log_var], decoder(z) -> x_hat in (0, 1)
    history = vae.fit(x, x, epochs=10)           # curves: loss = reconstruction_loss + beta * kl
    images = decoder.predict_on_batch(generate_latent_points(latent_dim, 25))
    -elbo(vae, x_test).mean(), -iwae_bound(vae, x_test, k=50).mean()

Everything is counted in nats per image: summed over pixels or latent dimensions, averaged over the batch. A mean over
pixels instead would make the KL hundreds of times too strong, and the encoder would ignore the image.

Kingma and Welling 2014, "Auto-Encoding Variational Bayes"; Burda et al. 2015, "Importance Weighted Autoencoders".
"""

import keras
import numpy as np
from keras import ops

PAIRS_AT_ONCE = 1_000  # (image, sample) pairs decoded together: some ten MB with a small convolutional decoder


@keras.saving.register_keras_serializable("keras_gen")
class Sampling(keras.layers.Layer):
    """[z_mean, z_log_var], each (n, latent_dim) -> z (n, latent_dim), drawn from q(z|x) = N(z_mean, exp(z_log_var)).

    While training, z = z_mean + sigma * noise (the reparametrisation trick: the noise carries no weights, so the
    gradient reaches mean and variance); otherwise z = z_mean. Each call adds the loss beta * KL(q(z|x) || N(0, I)),
    summed over latent dimensions and averaged over the batch. `beta` can be changed between epochs, for a KL that is
    phased in: `vae.sampling.beta.assign(0.1)`. The last call's KL, without beta, stays readable as `kl`.
    """

    def __init__(self, beta=1.0, **kwargs):
        super().__init__(**kwargs)
        if not beta >= 0:
            raise ValueError(f"beta is {beta}, but the weight of the KL term must be 0 or more; 1 is the plain VAE.")
        self.seed_generator = keras.random.SeedGenerator()
        # Weights and not Python numbers: compiled functions see a changed beta, and hand the KL out on every backend.
        self.beta = self.add_weight(name="beta", initializer=keras.initializers.Constant(beta), trainable=False)
        self.kl = self.add_weight(name="kl", initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        z_mean, z_log_var = inputs
        kl = 0.5 * ops.sum(ops.square(z_mean) + ops.exp(z_log_var) - 1.0 - z_log_var, axis=-1)
        kl = ops.mean(kl)
        self.add_loss(self.beta * kl)
        self.kl.assign(ops.stop_gradient(kl))
        if not training:
            return z_mean
        noise = keras.random.normal(ops.shape(z_mean), dtype=z_mean.dtype, seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * noise

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "beta": float(ops.convert_to_numpy(self.beta))}


@keras.saving.register_keras_serializable("keras_gen")
def reconstruction_loss(x, x_hat):
    """-log p(x|z) per image, in nats, shape (n,): binary cross-entropy summed over pixels; Keras averages the batch.

    x: images in [0, 1]; x_hat: Bernoulli means, the output of a sigmoid, of the same shape. Keras clips x_hat to
    [1e-7, 1 - 1e-7], so one pixel costs at most 16 nats and the loss is never infinite.
    """
    x_hat = ops.cast(x_hat, "float32")
    return ops.sum(ops.binary_crossentropy(ops.cast(x, "float32"), x_hat), axis=tuple(range(1, len(x_hat.shape))))


@keras.saving.register_keras_serializable("keras_gen")
class VAE(keras.Model):
    """decoder(Sampling(encoder(x))) as one model that knows its `encoder`, `sampling` and `decoder`; see `define_vae`.

    A model of its own, because Keras shows one `loss` only; this one also tracks `reconstruction_loss` and `kl`.
    """

    def __init__(self, encoder, decoder, beta=1.0, **kwargs):
        _check_networks(encoder, decoder)
        image = keras.Input(encoder.input_shape[1:], name="image")
        sampling = Sampling(beta, name="sampling")
        super().__init__(inputs=image, outputs=decoder(sampling(encoder(image))), **kwargs)
        self.encoder, self.sampling, self.decoder = encoder, sampling, decoder
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_tracker = keras.metrics.Mean(name="kl")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        y = x if y is None else y  # Keras would drop the reconstruction loss without a word
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        n_images = ops.shape(y_pred)[0]
        self.reconstruction_tracker.update_state(loss - sum(self.losses), sample_weight=n_images)
        self.kl_tracker.update_state(self.sampling.kl, sample_weight=n_images)
        return loss

    def fit(self, x=None, *args, **kwargs):
        self._check_range(x)
        return super().fit(x, *args, **kwargs)

    def train_on_batch(self, x, *args, **kwargs):
        self._check_range(x)
        return super().train_on_batch(x, *args, **kwargs)

    def _check_range(self, x):
        if isinstance(x, np.ndarray) and self.compiled and self.loss is reconstruction_loss:
            _check_images(x)

    def get_config(self):
        parts = {"encoder": self.encoder, "decoder": self.decoder}
        config = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {"name": self.name, "beta": self.sampling.get_config()["beta"], **config}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **parts})


def define_vae(encoder, decoder, beta=1.0):
    """Join the two networks to a VAE, compiled with Adam(1e-3) and `reconstruction_loss`; train with `vae.fit(x, x)`.

    encoder: images (n, ...) -> [z_mean, z_log_var], each (n, latent_dim). decoder: (n, latent_dim) -> Bernoulli means
    in (0, 1), the images' shape. beta: weight of the KL term (above 1: Higgins et al. 2017, "beta-VAE"; 0: none).
    Call `vae.compile` again for another optimizer or loss. Outside training z is the mean, so validation curves look
    better than the bound: measure with `elbo`. Raises ValueError when the two networks do not fit together.
    """
    vae = VAE(encoder, decoder, beta)
    vae.compile(keras.optimizers.Adam(1e-3), loss=reconstruction_loss)
    return vae


def elbo(vae, x, n_samples=1, seed=0):
    """Evidence lower bound on log p(x) of each image, in nats: float64 (n,), at beta = 1 whatever the VAE trained with.

    x: images in [0, 1] as the encoder takes them; published figures need binary pixels (`binarize`). The mean of
    log p(x|z) over `n_samples` draws from q(z|x), less the exact KL. Raises ValueError on another shape or range.
    """
    log_likelihood, _, kl = _draw(vae, x, n_samples, seed)
    return log_likelihood.mean(axis=1) - kl


def iwae_bound(vae, x, k=50, seed=0):
    """Importance-weighted bound on log p(x) of each image, in nats: float64 (n,). Burda et al. 2015.

    log of the mean over k draws of p(x|z) p(z) / q(z|x): for k = 1 the ELBO on average, and closer to log p(x) the
    larger k is. x and errors as in `elbo`. Time grows with n * k decoded images, memory does not.
    """
    log_likelihood, log_prior_ratio, _ = _draw(vae, x, k, seed)
    log_weights = log_likelihood + log_prior_ratio
    largest = log_weights.max(axis=1, keepdims=True)  # exp would underflow to 0 without it
    return largest[:, 0] + np.log(np.mean(np.exp(log_weights - largest), axis=1))


def binarize(images, seed=None):
    """Draw each pixel as 0 or 1 with its grey level in [0, 1] as the probability: float32, same shape.

    The data of the published MNIST likelihoods. Draw the training images anew each epoch ("dynamic"), the test images
    once with a fixed seed.
    """
    _check_images(images)
    return (np.random.default_rng(seed).random(np.shape(images), dtype="float32") < images).astype("float32")


def _draw(vae, x, k, seed):
    """k draws z ~ q(z|x) for each image: log p(x|z) and log p(z)/q(z|x), each (n, k), and the exact KL (n,)."""
    if not isinstance(vae, VAE):
        raise ValueError(
            f"Got a {type(vae).__name__}, but the bound needs the VAE that define_vae(encoder, decoder) made."
        )
    if k < 1:
        raise ValueError(f"{k} samples per image were asked for; 1 is the least.")
    x = np.asarray(x)
    if x.shape[1:] != vae.input_shape[1:]:
        raise ValueError(f"Images of shape {x.shape} were given, but the VAE takes {vae.input_shape}.")
    _check_images(x)
    z_mean, z_log_var = vae.encoder.predict(x, batch_size=1_000, verbose=0)
    rng = np.random.default_rng(seed)
    log_likelihood, log_prior_ratio = np.empty((2, len(x) * k))
    for start in range(0, len(x) * k, PAIRS_AT_ONCE):
        pairs = np.arange(start, min(start + PAIRS_AT_ONCE, len(x) * k))
        image = pairs // k
        noise = rng.standard_normal((len(pairs), z_mean.shape[1]), dtype="float32")
        z = z_mean[image] + np.exp(0.5 * z_log_var[image]) * noise
        loss = reconstruction_loss(x[image], vae.decoder.predict_on_batch(z))
        log_likelihood[pairs] = -ops.convert_to_numpy(loss)
        log_prior_ratio[pairs] = 0.5 * np.sum(noise**2 + z_log_var[image] - z**2, axis=1, dtype="float64")
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


def _check_images(x):
    low, high = np.min(x, initial=np.inf), np.max(x, initial=-np.inf)
    if not 0 <= low <= high <= 1:  # NaN and an empty array fail too
        raise ValueError(
            f"{len(x)} images between {low:g} and {high:g} were given, but Bernoulli pixels lie in [0, 1]; "
            "divide uint8 images by 255, or take (x + 1) / 2 from images in [-1, 1]."
        )
