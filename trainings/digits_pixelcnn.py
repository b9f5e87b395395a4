"""A PixelCNN of MNIST's digits in blocks of 2x2 pixels: an hour on two CPU cores.

Data           the first 55,000 training images of MNIST, each pixel drawn anew as 0 or
               1 for each batch, with its grey level as the probability of 1. No
               augmentation. The last 5,000 are held out, to look at.
Order          14x14 blocks of 2x2 pixels, row by row; within a block row by row.
               `pixel_order()` is what sample_pixels needs.
Network        two stacks at 14x14. The upper one sees the blocks of the rows above: its
               input is moved down by a row, its kernels (3x5 at first, then 2x3) end at
               their own row. The left one sees what lies to the left in the own row,
               its input moved right by a block, kernels 1x3 at first, then 1x2, and in
               each layer the upper one. A layer goes from 96 channels to 48 and back,
               and is added to what it got; eight layers. Then, for each pixel of a
               block, 32 units see the context and the block's earlier pixels. Learned
               constants for each place. The last layers begin at zero and the mean
               image: before the first step an image costs 206 nats. 438,000 weights.
Loss           -log p(x) in nats, summed over the pixels.
Optimizer      Adam. Its rate falls from 0.002 along a cosine to 0. Batches of 32.
Epochs         20 of 1,718 steps; seed 1.
Kept           after every epoch the running average of the weights (momentum 0.999, the
               last thousand steps), as float16. The last epoch stays: none is chosen.

A training that was stopped goes on from its last epoch, which lies in runs/.

Expect 79.4 nats on the test images, drawn once.
"""

import keras
import numpy as np
from keras import layers, ops

import keras_gen as kg

from .common import RUNS, keep

IMAGES = 55_000
HELD_OUT = 5_000
WIDTH = 96
LAYERS = 8
HEAD = 32  # units for each pixel of a block
EPOCHS = 20
BATCH = 32
RATE = 2e-3
SAMPLES = 1_000  # for the score
SEED = 1


def to_blocks(x):
    """`(n, 28, 28, 1)` to `(n, 14, 14, 4)`."""
    x = layers.Reshape((14, 2, 14, 2))(x)
    return layers.Reshape((14, 14, 4))(layers.Permute((1, 3, 2, 4))(x))


def from_blocks(x):
    x = layers.Reshape((14, 14, 2, 2))(x)
    return layers.Reshape((28, 28, 1))(layers.Permute((1, 3, 2, 4))(x))


def pixel_order():
    """The numbers of the pixels in the order in which the model sees them."""
    blocks = np.arange(28 * 28).reshape(14, 2, 14, 2)
    return blocks.transpose(0, 2, 1, 3).reshape(-1)


def above(x, filters, rows, columns):
    """A convolution that ends at its own row."""
    side = columns // 2
    x = layers.ZeroPadding2D(((rows - 1, 0), (side, side)))(x)
    return layers.Conv2D(filters, (rows, columns))(x)


def left(x, filters, columns):
    """A convolution of one row that ends at its own column."""
    x = layers.ZeroPadding2D(((0, 0), (columns - 1, 0)))(x)
    return layers.Conv2D(filters, (1, columns))(x)


def moved(x, down, right):
    """What lies a row above, or a column to the left."""
    x = layers.ZeroPadding2D(((down, 0), (right, 0)))(x)
    return layers.Cropping2D(((0, down), (0, right)))(x)


def placed(x, filters, **options):
    """A 1x1 convolution with a bias of its own for each place."""
    return layers.EinsumDense(
        "abcd,de->abce", output_shape=(14, 14, filters), bias_axes="bce", **options
    )(x)


def relu(x):
    return layers.Activation("relu")(x)


def define_pixelcnn():
    """Images of 0 and 1, `(n, 28, 28, 1)`, to logits of the same shape."""
    image = keras.Input((28, 28, 1))
    blocks = to_blocks(image)
    up = above(moved(blocks, 1, 0), WIDTH, 3, 5)
    up = placed(relu(up), WIDTH)
    row = left(moved(blocks, 0, 1), WIDTH, 3)
    row = placed(relu(layers.Add()([row, up])), WIDTH)
    for _ in range(LAYERS):
        h = layers.Conv2D(WIDTH // 2, 1)(relu(up))
        h = above(relu(h), WIDTH // 2, 2, 3)
        up = layers.Add()([up, layers.Conv2D(WIDTH, 1)(relu(h))])

        h = layers.Conv2D(WIDTH // 2, 1)(relu(row))
        h = left(relu(h), WIDTH // 2, 2)
        h = layers.Add()([h, layers.Conv2D(WIDTH // 2, 1)(relu(up))])
        row = layers.Add()([row, layers.Conv2D(WIDTH, 1)(relu(h))])

    # Each of the four pixels sees the context, and the earlier ones of its block.
    pixel_of_unit = np.arange(4 * HEAD) // HEAD
    earlier = np.arange(4)[:, None] < pixel_of_unit
    own = pixel_of_unit[:, None] == np.arange(4)
    context = relu(row)
    h = layers.Add()(
        [placed(context, 4 * HEAD), kg.MaskedDense(4 * HEAD, earlier)(blocks)]
    )
    a = kg.MaskedDense(4, own, kernel_initializer="zeros")(relu(h))
    a = layers.Add()(
        [a, placed(context, 4, kernel_initializer="zeros", name="mean_image")]
    )
    return keras.Model(image, from_blocks(a), name="pixelcnn")


@keras.saving.register_keras_serializable("trainings")
def nats(x, logits):
    """-log p(x) of each image."""
    return ops.sum(ops.softplus(logits) - x * logits, axis=(1, 2, 3))


def mean_nats(model, x):
    logits = model.predict(x, batch_size=100, verbose=0)
    return float(ops.convert_to_numpy(nats(x, logits)).mean())


def begin_at_mean(model, images):
    """Let the untrained model answer with the mean image, whatever it sees."""
    mean = images.mean(axis=0).clip(0.001, 0.999)
    blocks = np.log(mean / (1 - mean)).reshape(-1)[pixel_order()]
    model.get_layer("mean_image").bias.assign(blocks.reshape(14, 14, 4))


def train():
    keras.utils.set_random_seed(SEED)
    (x_train, _), _ = kg.load_dataset("mnist")
    dataset = kg.to_unit(x_train)
    held_out = kg.binarize(dataset[IMAGES:][:HELD_OUT], seed=0)
    dataset = dataset[:IMAGES]

    n_steps = IMAGES // BATCH
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * n_steps)
    optimizer = keras.optimizers.Adam(rate, use_ema=True, ema_momentum=0.999)
    model = define_pixelcnn()
    begin_at_mean(model, dataset)
    model.compile(loss=nats, optimizer=optimizer)

    def step():
        # By NumPy's global generator, whose state is saved along.
        images = dataset[np.random.randint(0, len(dataset), BATCH)]
        x = (np.random.random(images.shape) < images).astype("float32")
        return kg.train_only(model, (model,), model, x, x)

    def look(epoch, logs):
        average = kg.averaged_generator(model, model)
        kept = keep("digits_pixelcnn", define_pixelcnn, average.get_weights())
        print(
            f"epoch {epoch + 1}: {mean_nats(kept, held_out):.2f} nats on "
            f"{len(held_out):,} held-out training images",
            flush=True,
        )

    save = kg.SaveRun(RUNS / "digits_pixelcnn", {model: model})
    done = save.restore()
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=look), save]
    kg.loop(step, model, (model,), EPOCHS, n_steps, callbacks, done, verbose=2)


def score():
    (x_train, _), (x_test, _) = kg.load_dataset("mnist")
    model = kg.load_pretrained("digits_pixelcnn")
    later = np.triu(kg.sees(model)[pixel_order()][:, pixel_order()]).sum()
    print(f"later pixels that an answer sees: {later}")
    for name, x in (("test", x_test), ("training", x_train[: len(x_test)])):
        cost = mean_nats(model, kg.binarize(kg.to_unit(x), seed=0))
        print(f"{len(x):,} {name} images: {cost:.2f} nats")
    x = kg.sample_pixels(model, SAMPLES, order=pixel_order())
    judge = kg.train_judge("mnist")
    sure = kg.confident_share(judge, 2 * x - 1)
    real = kg.binarize(kg.to_unit(x_test[:SAMPLES]), seed=0)
    sure_real = kg.confident_share(judge, 2 * real - 1)
    print(f"the judge is sure of {sure:.1%} of {len(x):,} samples,", end=" ")
    print(f"of {sure_real:.1%} of binary test images")
