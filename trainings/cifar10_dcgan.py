"""The lecture's DCGAN of CIFAR-10: an hour and a half on two CPU cores.

Data           the first 25,000 training images of CIFAR-10, in [-1, 1], all classes,
               no labels. No augmentation.
Generator      100 numbers, dense to 4x4x256, three transposed convolutions (kernel 4,
               stride 2) with 128 filters to 32x32, a convolution (kernel 3) to 3
               channels, tanh; LeakyReLU(0.2) after each layer before that. No batch
               normalisation. 1,466,000 weights.
Discriminator  convolutions (kernel 3) with 64, 128, 128 and 256 filters, all but the
               first with stride 2, each with LeakyReLU(0.2); dropout 0.4; dense,
               sigmoid.
Losses         binary cross-entropy. G is to have its images called real.
Step           the lecture's: D learns from 32 real images, then from 32 fakes; G from
               64 new points.
Optimizers     Adam, beta_1=0.5, rate 0.0002 for both from the first step to the last.
Epochs         60 of 390 steps; seed 1; in mixed bfloat16.
Kept           G's latest weights, after every epoch, as float16. No averages.

A training that was stopped goes on from its last epoch, which lies in runs/.

Expect of 5,000 samples, by the judge of CIFAR-10: feature distance 27 to the test
images (as many real training images 0.5), all 10 classes, KL 0.076 nats, precision
0.81, recall 0.71, memorisation ratio 0.98. The rate never falls, so the distance
swings: 18 to 38 in the last dozen epochs.
"""

import keras
import numpy as np
from keras import layers

import keras_gen as kg

from .common import RUNS, draw_aside, keep, print_distance, print_scores

IMAGES = 25_000
LATENT_DIM = 100
EPOCHS = 60
BATCH = 64
RATE = 2e-4
SEED = 1


def define_generator():
    """Latent points `(n, 100)` to images `(n, 32, 32, 3)` in [-1, 1]."""
    model = keras.Sequential(name="generator")
    model.add(keras.Input((LATENT_DIM,)))
    model.add(layers.Dense(4 * 4 * 256))
    model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Reshape((4, 4, 256)))
    for _ in range(3):  # 4x4 -> 8x8 -> 16x16 -> 32x32
        model.add(layers.Conv2DTranspose(128, 4, strides=2, padding="same"))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Conv2D(3, 3, padding="same"))
    model.add(layers.Activation("tanh", dtype="float32"))
    return model


def define_discriminator():
    """Images `(n, 32, 32, 3)` in [-1, 1] to the probability of being real."""
    model = keras.Sequential(name="discriminator")
    model.add(keras.Input((32, 32, 3)))
    # 32x32, 16x16, 8x8, 4x4
    for filters, strides in ((64, 1), (128, 2), (128, 2), (256, 2)):
        model.add(layers.Conv2D(filters, 3, strides=strides, padding="same"))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.4))
    model.add(layers.Dense(1, activation="sigmoid", dtype="float32"))
    optimizer = keras.optimizers.Adam(RATE, beta_1=0.5)
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return model


def train():
    keras.utils.set_random_seed(SEED)
    (x_train, _), (x_test, _) = kg.load_dataset("cifar10")
    x_train = x_train[:IMAGES]
    x_test = x_test[:2_500]  # to look at after each epoch
    judge = kg.train_judge("cifar10")
    # Twice as fast on processors that calculate in it.
    keras.config.set_dtype_policy("mixed_bfloat16")

    g_model = define_generator()
    d_model = define_discriminator()
    optimizer = keras.optimizers.Adam(RATE, beta_1=0.5)
    gan_model = kg.define_gan(g_model, d_model, optimizer)
    networks = g_model, d_model

    def step():
        # Phase 1: the discriminator.
        x, y = kg.generate_real_samples(x_train, BATCH // 2)
        real = kg.train_only(d_model, networks, d_model, x, y)
        x, y = kg.generate_fake_samples(g_model, LATENT_DIM, BATCH // 2)
        fake = kg.train_only(d_model, networks, d_model, x, y)

        # Phase 2: the generator, whose images are to be called real.
        points = kg.generate_latent_points(LATENT_DIM, BATCH)
        ones = np.ones((BATCH, 1), "float32")
        gan = kg.train_only(g_model, networks, gan_model, points, ones)
        return {
            "d_loss_real": real["loss"],
            "d_loss_fake": fake["loss"],
            "g_loss": gan["loss"],
            "d_acc_real": real["accuracy"],
            "d_acc_fake": fake["accuracy"],
        }

    def look(epoch, logs):
        kept = keep("cifar10_dcgan", define_generator, g_model.get_weights())
        samples = kept.predict(draw_aside(LATENT_DIM, len(x_test)), verbose=0)
        print_distance(epoch, judge, samples, x_test)

    save = kg.SaveRun(RUNS / "cifar10_dcgan", {g_model: gan_model, d_model: d_model})
    done = save.restore()
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=look), save]
    n_steps = len(x_train) // BATCH
    kg.loop(step, gan_model, networks, EPOCHS, n_steps, callbacks, done, verbose=2)


def score():
    keras.utils.set_random_seed(SEED)
    (x_train, y_train), (x_test, _) = kg.load_dataset("cifar10")
    x_train = x_train[:IMAGES]
    y_train = y_train[:IMAGES]
    x_test = x_test[:5_000]
    judge = kg.train_judge("cifar10")
    generator = kg.load_pretrained("cifar10_dcgan")

    points = kg.generate_latent_points(LATENT_DIM, len(x_test))
    samples = generator.predict(points, batch_size=100, verbose=0)
    print_scores(judge, samples, x_train, y_train, x_test)
