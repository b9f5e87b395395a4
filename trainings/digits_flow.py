"""A flow of MNIST's digits, grey and exact, in couplings: 45 minutes on two CPU cores.

Data           the first 55,000 training images of MNIST, with noise between the grey
               levels, drawn anew for each batch. Each pixel by its own distribution
               function becomes a number from N(0, 1): `to_noise`. No augmentation. The
               last 5,000 are held out, to look at.
Flow           28x28 squeezed to 14x14x4: eight affine couplings. Squeezed again, to
               7x7x16: eight more. One half of the channels is scaled and shifted by
               what a network makes of the other: every second pixel as on a
               checkerboard, every second row, every second column; each cut is used
               twice, the halves in turn.
Networks       three 3x3 convolutions with relu, 48 channels at 14x14 and 96 at 7x7, with
               learned constants for each place. The last layers begin at zero: before
               the first step an image costs what its pixels cost by themselves, 1.69
               bits/dim. 1,160,000 weights.
Loss           -log p(x) in nats, divided by the number of pixels.
Optimizer      Adam, gradient clipped to a norm of 1. Its rate falls from 0.002 along a
               cosine to 0. Batches of 64.
Epochs         20 of 859 steps; seed 1.
Kept           after every epoch the running average of the weights (momentum 0.999, the
               last thousand steps), as float16. The last epoch stays: none is chosen.

A training that was stopped goes on from its last epoch, which lies in runs/.

What is kept is one model that holds all networks: its layers "coupling_00" to
"coupling_15" are those of the couplings, in the order from image to noise.

Aimed at: 1.22 bits/dim on the 10,000 test images.
"""

import keras
import numpy as np
from keras import layers, ops
from scipy.special import ndtr, ndtri

import keras_gen as kg
from keras_gen.flows import normal_logpdf

from .common import RUNS, keep, print_scores

IMAGES = 55_000
HELD_OUT = 5_000
COUPLINGS = 8  # at each size
WIDTH = 48  # channels at 14x14; at 7x7 twice as many
EPOCHS = 20
BATCH = 64
RATE = 2e-3
TEMPERATURES = (1.0, 0.7)  # of the noise, for the score
SAMPLES = 10_000
SEED = 1


class Levels:
    """How often each pixel has each of the 256 grey levels, and the way to noise."""

    def __init__(self, images):
        pixels = images.reshape(len(images), -1)
        counts = np.full((pixels.shape[1], 256), 0.1)  # no level is impossible
        for pixel, levels in enumerate(pixels.T):
            counts[pixel] += np.bincount(levels, minlength=256)
        self.share = counts / counts.sum(axis=1, keepdims=True)
        self.below = np.cumsum(self.share, axis=1) - self.share
        self.pixels = np.arange(len(counts))

    def to_noise(self, images, seed):
        """Bytes to numbers like N(0, 1), and the logarithm of the determinant."""
        x = kg.dequantize(images.reshape(len(images), -1), seed)
        levels = np.floor(x).astype(int)
        p = self.share[self.pixels, levels]
        z = ndtri(self.below[self.pixels, levels] + p * (x - levels))
        log_det = np.sum(np.log(p) + z**2 / 2 + np.log(2 * np.pi) / 2, axis=1)
        return z.reshape(images.shape).astype("float32"), log_det.astype("float32")

    def to_images(self, z):
        q = ndtr(z.reshape(len(z), -1).astype("float64"))
        x = np.empty(q.shape, "uint8")
        for pixel, below in enumerate(self.below):
            x[:, pixel] = np.searchsorted(below, q[:, pixel], side="right") - 1
        return x.reshape(z.shape)


def define_orders():
    """Of each coupling: the channels, the half that it sees first, then the other."""
    row, column = np.indices((4, 4))
    orders = []
    for squeezes in (1, 2):
        for i in range(COUPLINGS):
            cut = (row + column, row, column)[i // 2 % 3] % 2
            x = cut[None, : 2 * squeezes, : 2 * squeezes, None]
            for _ in range(squeezes):
                x = ops.convert_to_numpy(kg.squeeze(x))
            order = np.argsort(x.reshape(-1), kind="stable")
            orders.append(order if i % 2 == 0 else np.roll(order, len(order) // 2))
    return orders


def define_networks():
    """All couplings' networks side by side, in one model."""
    halves = [keras.Input((14, 14, 2)), keras.Input((7, 7, 8))]
    answers = []
    for i in range(2 * COUPLINGS):
        half = halves[i // COUPLINGS]
        height, width, seen = half.shape[1:]
        filters = WIDTH * (1 + i // COUPLINGS)
        network = keras.Sequential(
            [
                keras.Input((height, width, seen)),
                layers.Conv2D(filters, 3, padding="same"),
                place_bias((height, width, filters)),
                layers.Activation("relu"),
                layers.Conv2D(filters, 3, padding="same", activation="relu"),
                layers.Conv2D(
                    4 * seen, 3, padding="same", kernel_initializer="zeros"
                ),
                place_bias((height, width, 4 * seen)),
            ],
            name=f"coupling_{i:02}",
        )
        answers.append(network(half))
    return keras.Model(halves, answers, name="networks")


def place_bias(shape):
    """A bias of its own for each place and channel, after a scale for each channel."""
    return layers.EinsumDense(
        "abcd,d->abcd", shape, bias_axes="bcd", kernel_initializer="ones"
    )


def shift_and_log_scale(networks, i, half):
    network = networks.get_layer(f"coupling_{i:02}")
    shift, log_scale = ops.split(network(half), 2, axis=-1)
    return shift, 2 * ops.tanh(log_scale / 2)


def encode(networks, z):
    """`(n, 28, 28, 1)` to codes `(n, 7, 7, 16)` and the logarithm of the determinant."""
    log_det = 0.0
    for i, order in enumerate(define_orders()):
        if i in (0, COUPLINGS):
            z = kg.squeeze(z)
        seen, moved = ops.split(ops.take(z, order, axis=-1), 2, axis=-1)
        shift, log_scale = shift_and_log_scale(networks, i, seen)
        z = ops.concatenate([seen, moved * ops.exp(log_scale) + shift], axis=-1)
        z = ops.take(z, np.argsort(order), axis=-1)
        log_det = log_det + ops.sum(log_scale, axis=(1, 2, 3))
    return z, log_det


def decode(networks, code):
    """Undo `encode`."""
    z = code
    for i, order in reversed(list(enumerate(define_orders()))):
        seen, moved = ops.split(ops.take(z, order, axis=-1), 2, axis=-1)
        shift, log_scale = shift_and_log_scale(networks, i, seen)
        z = ops.concatenate([seen, (moved - shift) * ops.exp(-log_scale)], axis=-1)
        z = ops.take(z, np.argsort(order), axis=-1)
        if i in (0, COUPLINGS):
            z = kg.unsqueeze(z)
    return z


def define_flow(networks):
    """Images, each pixel like N(0, 1), to their log density."""
    image = keras.Input((28, 28, 1))
    code, log_det = encode(networks, image)
    return keras.Model(image, normal_logpdf(layers.Flatten()(code)) + log_det)


@keras.saving.register_keras_serializable("trainings")
def nats_per_dim(log_det, log_p):
    return -(log_p + log_det) / (28 * 28)


def mean_bits(networks, levels, images, seed=0):
    """Bits/dim of images, bytes: the mean over all."""
    z, log_det = levels.to_noise(images, seed)
    log_p = define_flow(networks).predict(z, batch_size=250, verbose=0)
    return kg.bits_per_dim(log_p + log_det, images.shape).mean()


def train():
    keras.utils.set_random_seed(SEED)
    (x_train, _), _ = kg.load_dataset("mnist")
    held_out = x_train[IMAGES:][:HELD_OUT]
    dataset = x_train[:IMAGES]
    levels = Levels(dataset)

    n_steps = IMAGES // BATCH
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * n_steps)
    optimizer = keras.optimizers.Adam(
        rate, use_ema=True, ema_momentum=0.999, global_clipnorm=1.0
    )
    networks = define_networks()
    model = define_flow(networks)
    model.compile(loss=nats_per_dim, optimizer=optimizer)

    def step():
        # By NumPy's global generator, whose state is saved along.
        images = dataset[np.random.randint(0, len(dataset), BATCH)]
        z, log_det = levels.to_noise(images, np.random.randint(2**31))
        return kg.train_only(networks, (networks,), model, z, log_det)

    def look(epoch, logs):
        average = kg.averaged_generator(networks, model, [])
        kept = keep("digits_flow", define_networks, average.get_weights())
        print(
            f"epoch {epoch + 1}: {mean_bits(kept, levels, held_out):.3f} bits/dim on "
            f"{len(held_out):,} held-out training images",
            flush=True,
        )

    save = kg.SaveRun(RUNS / "digits_flow", {networks: model})
    done = save.restore()
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=look), save]
    kg.loop(step, model, (networks,), EPOCHS, n_steps, callbacks, done, verbose=2)


def score():
    (x_train, y_train), (x_test, _) = kg.load_dataset("mnist")
    levels = Levels(x_train[:IMAGES])
    networks = kg.load_pretrained("digits_flow")
    for name, x in (("test", x_test), ("training", x_train[: len(x_test)])):
        bits = mean_bits(networks, levels, x)
        print(f"{len(x):,} {name} images: {bits:.3f} bits/dim")
    judge = kg.train_judge("mnist")
    rng = np.random.default_rng(SEED)
    for temperature in TEMPERATURES:
        samples = []
        for _ in range(0, SAMPLES, 500):
            code = temperature * rng.standard_normal((500, 7, 7, 16))
            z = decode(networks, code.astype("float32"))
            samples.append(levels.to_images(ops.convert_to_numpy(z)))
        samples = np.concatenate(samples)[: len(x_test)]
        print(f"temperature {temperature:g}")
        print_scores(judge, samples, x_train, y_train, x_test)
