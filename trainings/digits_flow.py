"""A flow of MNIST's grey digits in affine couplings: 45 minutes on two CPU cores.

Data           the first 55,000 training images of MNIST, with noise between the grey
               levels, drawn anew for each batch. By its own distribution function each
               pixel becomes a number from N(0, 1), see `Levels`. No augmentation. The
               last 5,000 are held out, to look at.
Flow           28x28 squeezed to 14x14x4, six couplings, squeezed to 7x7x16, twelve
               more. Two of the four pixels of a block are scaled and shifted by what a
               network makes of the other two: every second pixel as on a checkerboard,
               every second row, every second column, both ways round. (At 7x7 each of
               the four was a block before.) A logarithm of a scale lies between -2
               and 2. No numbers leave on the way.
Networks       three convolutions of 3x3, 48 channels, after the first a layer with a
               bias for each place, relu between them. The last layers begin at zero:
               before the first step an image costs what its pixels cost by themselves,
               1.69 bits/dim. 641,000 weights.
Loss           -log p(x) in nats, divided by the number of pixels.
Optimizer      Adam, gradient clipped to a norm of 0.125. Its rate falls from 0.003
               along a cosine to 0. Batches of 64.
Epochs         30 of 859 steps; seed 1.
Kept           after every epoch the running average of the weights (momentum 0.999, the
               last thousand steps), as float16. The last epoch stays: none is chosen.
               It is one model that holds all networks, layers "coupling_00" to
               "coupling_17" in the order from image to noise.

A training that was stopped goes on from its last epoch, which lies in runs/.

Aimed at: 1.15 bits/dim on the 10,000 test images.
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
COUPLINGS = 18
AT_14 = 6  # the first of them, at 14x14; the others at 7x7
WIDTH = 48
# Of a block's four pixels those that are seen, then those that are moved: as on a
# checkerboard, by rows, by columns.
CUTS = ([0, 3, 1, 2], [0, 1, 2, 3], [0, 2, 1, 3])
EPOCHS = 30
BATCH = 64
RATE = 3e-3
TEMPERATURES = (1.0, 0.7)  # of the noise, for the score
SAMPLES = 10_000
AT_ONCE = 250  # images that go through the flow together, outside the training
SEED = 1


class Levels:
    """How often each pixel has each of the 256 grey levels, and the way to noise."""

    def __init__(self, images):
        counts = [
            np.bincount(levels, minlength=256)
            for levels in images.reshape(len(images), -1).T
        ]
        self.share = np.stack(counts) + 0.01  # no level is impossible
        self.share /= self.share.sum(axis=1, keepdims=True)
        self.below = np.cumsum(self.share, axis=1) - self.share
        self.pixels = np.arange(len(self.share))

    def to_noise(self, images, seed):
        """Bytes to numbers like N(0, 1), and the logarithm of the determinant."""
        x = kg.dequantize(images.reshape(len(images), -1), seed)
        levels = np.floor(x).astype(int)
        p = self.share[self.pixels, levels]
        z = ndtri(self.below[self.pixels, levels] + p * (x - levels))
        log_det = np.sum(np.log(p) + z**2 / 2 + np.log(2 * np.pi) / 2, axis=1)
        return z.reshape(images.shape).astype("float32"), log_det.astype("float32")

    def to_images(self, z):
        """Undo `to_noise`: each number becomes the level in whose share it lies."""
        q = ndtr(z.reshape(len(z), -1).astype("float64"))
        x = np.empty(q.shape, "uint8")
        for pixel, below in enumerate(self.below):
            x[:, pixel] = np.searchsorted(below, q[:, pixel], side="right") - 1
        return x.reshape(z.shape)


def define_network(side, channels, name):
    """The half of the channels that is seen to shift and scale of the other half."""
    return keras.Sequential(
        [
            keras.Input((side, side, channels // 2)),
            layers.Conv2D(WIDTH, 3, padding="same", activation="relu"),
            layers.EinsumDense(
                "abcd,de->abce",
                (side, side, WIDTH),
                bias_axes="bce",
                activation="relu",
            ),
            layers.Conv2D(WIDTH, 3, padding="same", activation="relu"),
            layers.Conv2D(channels, 3, padding="same", kernel_initializer="zeros"),
        ],
        name=name,
    )


def define_networks():
    """The networks of all couplings side by side, in one model."""
    near, far = keras.Input((14, 14, 2)), keras.Input((7, 7, 8))
    answers = []
    for i in range(COUPLINGS):
        seen, channels = (near, 4) if i < AT_14 else (far, 16)
        network = define_network(seen.shape[1], channels, f"coupling_{i:02}")
        answers.append(network(seen))
    return keras.Model([near, far], answers, name="networks")


def couple(networks, i, z, back=False):
    """One coupling, there or back, and the logarithm of the determinant there."""
    blocks = np.arange(z.shape[-1]).reshape(4, -1)[CUTS[i // 2 % 3]]
    order = np.roll(blocks, 2 * i, axis=0).ravel()  # odd i: the other way round
    seen, moved = ops.split(ops.take(z, order, axis=-1), 2, axis=-1)
    network = networks.get_layer(f"coupling_{i:02}")
    shift, log_scale = ops.split(network(seen), 2, axis=-1)
    log_scale = 2 * ops.tanh(log_scale / 2)
    if back:
        moved = (moved - shift) * ops.exp(-log_scale)
    else:
        moved = moved * ops.exp(log_scale) + shift
    z = ops.take(ops.concatenate([seen, moved], axis=-1), np.argsort(order), axis=-1)
    return z, ops.sum(log_scale, axis=(1, 2, 3))


def define_flow(networks):
    """Images, each pixel like N(0, 1), to their log density."""
    image = keras.Input((28, 28, 1))
    z, log_det = image, 0.0
    for i in range(COUPLINGS):
        if i in (0, AT_14):
            z = kg.squeeze(z)
        z, log_scales = couple(networks, i, z)
        log_det = log_det + log_scales
    return keras.Model(image, normal_logpdf(layers.Flatten()(z)) + log_det)


def sample(networks, levels, n, temperature, seed):
    """Draw images: uint8 `(n, 28, 28, 1)`."""
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, n, AT_ONCE):
        noise = rng.standard_normal((min(AT_ONCE, n - start), 7, 7, 16))
        z = ops.convert_to_tensor(temperature * noise, "float32")
        for i in reversed(range(COUPLINGS)):
            z, _ = couple(networks, i, z, back=True)
            if i in (0, AT_14):
                z = kg.unsqueeze(z)
        parts.append(levels.to_images(ops.convert_to_numpy(z)))
    return np.concatenate(parts)


@keras.saving.register_keras_serializable("trainings")
def nats_per_pixel(log_det, log_p):
    """The loss: what the change of the data adds to log p is given as the target."""
    return -(log_p + log_det) / 784


def mean_bits(networks, levels, images):
    """Bits/dim of images, uint8: the mean over all, with one draw of the noise."""
    z, log_det = levels.to_noise(images, seed=0)
    log_p = define_flow(networks).predict(z, batch_size=AT_ONCE, verbose=0)
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
        rate, use_ema=True, ema_momentum=0.999, global_clipnorm=0.125
    )
    networks = define_networks()
    model = define_flow(networks)
    model.compile(loss=nats_per_pixel, optimizer=optimizer)

    def step():
        # By NumPy's global generator, whose state is saved along.
        images = dataset[np.random.randint(0, len(dataset), BATCH)]
        z, log_det = levels.to_noise(images, seed=np.random.randint(2**31))
        return kg.train_only(networks, (networks,), model, z, log_det)

    def look(epoch, logs):
        average = kg.averaged_generator(networks, model)
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
    n = min(SAMPLES, len(x_test))
    for temperature in TEMPERATURES:
        print(f"{n:,} samples, temperature {temperature:g}")
        samples = sample(networks, levels, n, temperature, seed=SEED)
        print_scores(judge, samples, x_train, y_train, x_test[:n])
