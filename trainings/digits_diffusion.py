"""A diffusion model of MNIST's digits, told which: half an hour on two CPU cores.

Data           the 60,000 training images of MNIST with their digits, in [-1, 1]. No
               augmentation.
Noise          x_t = alpha x + sigma noise, alpha and sigma the cosine and the sine of
               pi t / 2; t evenly from [0, 1), one for each image.
Network        a U-Net, 28x28 -> 14x14 -> 7x7 and back: convolutions (kernel 4, stride
               2) with 48 and 96 filters; residual blocks, one at 14x14, three at 7x7
               and one more at 14x14, to whose input the first one's output is added;
               transposed convolutions (kernel 4, stride 2) with 48 and 24 filters; the
               noisy image again, a convolution with 24 filters and one with 1. A block
               is two convolutions (kernel 3), of which the second begins at zero;
               between them all features of an image are normalised together (group
               normalisation, one group) and a silu follows. Time (by a dense layer that
               begins with weights from [-8, 8] and biases from [-4, 4], silu, and
               another) and digit become 64 numbers, by which the channels before every
               silu are scaled and shifted. 813,000 weights.
Target         v = alpha noise - sigma x, mean squared error. The digit is left out in
               15 % of the batch.
Optimizer      Adam, gradient clipped to a norm of 1. Its rate falls from 0.0015 along a
               cosine to 0. Batches of 64.
Epochs         26 of 937 steps; seed 1.
Kept           after every epoch the running average of the weights (momentum 0.999, the
               last thousand steps), as float16.

A training that was stopped goes on from its last epoch, which lies in runs/.

Expect for 10,000 digits by 20 steps: feature distance 2.0 and 96 % of the digits asked
for, with guidance 1 distance 7.4 and all of them.
"""

import keras
import numpy as np
from keras import layers

import keras_gen as kg

from .common import RUNS, keep, print_distance, print_scores

CLASSES = 10
WIDTH = 48  # channels at 14x14; at 7x7 twice as many
CODE = 64  # numbers that say time and digit
EPOCHS = 26
BATCH = 64
RATE = 1.5e-3
LOOK = 500  # images after each epoch
SAMPLES = 10_000  # for the score
SEED = 1


def follow(x, told):
    """Scale and shift each channel by what time and digit say; then silu."""
    filters = x.shape[-1]
    scale = layers.Dense(filters, bias_initializer="ones")(told)
    shift = layers.Dense(filters)(told)
    x = layers.Add()([layers.Multiply()([x, scale]), shift])
    return layers.Activation("silu")(x)


def define_block(x, told):
    # Without it three of four runs, of differing width, blew up in epochs 2 to 5.
    filters = x.shape[-1]
    h = layers.Conv2D(filters, 3, padding="same")(x)
    h = layers.GroupNormalization(1)(h)
    h = follow(h, told)
    h = layers.Conv2D(filters, 3, padding="same", kernel_initializer="zeros")(h)
    return layers.Add()([x, h])


def define_unet():
    """Noisy images `(n, 28, 28, 1)`, times and digits + 1 (0: none), `(n, 1)`, to v."""
    image = keras.Input((28, 28, 1))
    t = keras.Input((1,))
    digit = keras.Input((1,), dtype="int32")
    # Large weights to begin with: else near times look alike for long. With Keras's own
    # the loss was 0.25 after 400 steps at the best of three rates, with these 0.18.
    wide = keras.initializers.RandomUniform(-8, 8)
    offset = keras.initializers.RandomUniform(-4, 4)
    time_code = layers.Dense(
        CODE, activation="silu", kernel_initializer=wide, bias_initializer=offset
    )(t)
    time_code = layers.Dense(CODE)(time_code)
    digit_code = layers.Flatten()(layers.Embedding(CLASSES + 1, CODE)(digit))
    told = layers.Activation("silu")(layers.Add()([time_code, digit_code]))
    told = layers.Reshape((1, 1, CODE))(told)

    fine = layers.Conv2D(WIDTH, 4, strides=2, padding="same")(image)  # 14x14
    fine = define_block(fine, told)
    x = layers.Conv2D(2 * WIDTH, 4, strides=2, padding="same")(fine)  # 7x7
    for _ in range(3):
        x = define_block(x, told)
    x = layers.Conv2DTranspose(WIDTH, 4, strides=2, padding="same")(x)  # 14x14
    x = define_block(layers.Add()([x, fine]), told)
    x = layers.Conv2DTranspose(WIDTH // 2, 4, strides=2, padding="same")(x)
    x = layers.Concatenate()([x, image])  # 28x28
    x = follow(layers.Conv2D(WIDTH // 2, 3, padding="same")(x), told)
    v = layers.Conv2D(
        1, 3, padding="same", kernel_initializer="zeros", dtype="float32"
    )(x)
    return keras.Model([image, t, digit], v, name="unet")


def train():
    keras.utils.set_random_seed(SEED)
    (x_train, y_train), (x_test, _) = kg.load_dataset("mnist")
    x_test = x_test[:LOOK]  # to look at after each epoch
    judge = kg.train_judge("mnist")

    n_steps = len(x_train) // BATCH
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * n_steps)
    optimizer = keras.optimizers.Adam(
        rate, use_ema=True, ema_momentum=0.999, global_clipnorm=1.0
    )
    model = define_unet()
    model.compile(loss="mse", optimizer=optimizer)

    def step():
        # Noise by NumPy's global generator, whose state is saved along.
        ix = np.random.randint(0, len(x_train), BATCH)
        images = kg.to_tanh(x_train[ix])
        inputs, v = kg.noised(images, np.random, y_train[ix])
        return kg.train_only(model, (model,), model, inputs, v)

    def look(epoch, logs):
        average = kg.averaged_generator(model, model)
        kept = keep("digits_diffusion", define_unet, average.get_weights())
        digits = np.arange(len(x_test)) % CLASSES
        samples = kg.sample_diffusion(kept, len(x_test), labels=digits)
        print_distance(epoch, judge, samples, x_test)

    save = kg.SaveRun(RUNS / "digits_diffusion", {model: model})
    done = save.restore()
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=look), save]
    kg.loop(step, model, (model,), EPOCHS, n_steps, callbacks, done, verbose=2)


def score():
    keras.utils.set_random_seed(SEED)
    (x_train, y_train), (x_test, _) = kg.load_dataset("mnist")
    x_test = x_test[:SAMPLES]
    digits = y_train[: len(x_test)]  # as often as they occur
    judge = kg.train_judge("mnist")
    model = kg.load_pretrained("digits_diffusion")

    for guidance in (0.0, 1.0):
        samples = kg.sample_diffusion(
            model, len(x_test), labels=digits, guidance=guidance
        )
        print(f"guidance {guidance:g}, 20 steps, {len(x_test):,} digits asked for")
        print_scores(judge, samples, x_train, y_train, x_test)
        right = kg.label_accuracy(judge, samples, digits)
        print(f"taken for the digit asked for {right:.2%}")
        few = min(2_000, len(x_test))
        distance = kg.feature_distance(judge, samples[:few], real=x_test[:few])
        print(f"the first {few:,}: feature distance {distance:.1f}")
