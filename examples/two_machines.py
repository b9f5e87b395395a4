"""Train the lecture's DCGAN on two machines at once, or on more: each learns from its own images, all have one GAN.

    KERAS_BACKEND=jax python examples/two_machines.py host1:1234,host2:1234 0     on the first machine
    KERAS_BACKEND=jax python examples/two_machines.py host1:1234,host2:1234 1     on the second

Start them in any order: they wait five minutes for each other. Without addresses one process trains on all devices of
its machine.
The lecture's size is `--data cifar10 --epochs 200 --width 128`, and `--batch 64` on each of two machines.
"""

import argparse
import sys

import keras
import numpy as np
from keras import layers

import keras_gen as kg

LATENT_DIM = 100


def define_discriminator(width):
    model = keras.Sequential(name="discriminator")
    model.add(keras.Input((32, 32, 3)))
    model.add(layers.Conv2D(width // 2, 3, padding="same"))
    model.add(layers.LeakyReLU(negative_slope=0.2))
    for filters in (width, width, 2 * width):  # 32x32 -> 16x16 -> 8x8 -> 4x4
        model.add(layers.Conv2D(filters, 3, strides=2, padding="same"))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.4))
    model.add(layers.Dense(1, activation="sigmoid"))
    optimizer = keras.optimizers.Adam(learning_rate=0.0002, beta_1=0.5)
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return model


def define_generator(width):
    model = keras.Sequential(name="generator")
    model.add(keras.Input((LATENT_DIM,)))
    model.add(layers.Dense(4 * 4 * 2 * width))
    model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Reshape((4, 4, 2 * width)))
    for _ in range(3):
        model.add(layers.Conv2DTranspose(width, 4, strides=2, padding="same"))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Conv2D(3, 3, padding="same", activation="tanh"))
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("addresses", nargs="?", default="", help="host:port of each process, the same list everywhere")
    parser.add_argument("index", nargs="?", type=int, default=0, help="which of them this process is, from 0")
    parser.add_argument("--data", default="faces", help="a colour set of 32x32 images, on every machine (faces)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--width", type=int, default=24, help="filters in a layer (24)")
    parser.add_argument("--batch", type=int, default=32, help="images a step, in each process (32)")
    parser.add_argument("--run", default="runs/two_machines", help="folder for the first process's save and film")
    options = parser.parse_args()
    if keras.config.backend() != "jax":
        sys.exit(
            f"Keras has started with {keras.config.backend()}, and this trains across devices with JAX only: "
            "set KERAS_BACKEND=jax."
        )
    n_processes, first = options.addresses.count(",") + 1, options.index == 0

    # The same seed everywhere: all processes build the same networks, with the same weights.
    keras.utils.set_random_seed(1)
    if n_processes > 1:
        keras.distribution.initialize(options.addresses, n_processes, options.index)
    # From here on every device of every machine holds all weights. A batch is what the processes bring together, a loss
    # the mean over all of it, and its gradient moves all copies of a weight alike: they stay equal.
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    d_model, g_model = define_discriminator(options.width), define_generator(options.width)
    gan_model = kg.define_gan(g_model, d_model)
    latent_points = kg.generate_latent_points(LATENT_DIM, 20)

    # Only the first process saves. Started again, all of them go on with its save: copy it to the other machines, or
    # let --run be on a disk that they share.
    save = kg.SaveRun(options.run, {g_model: gan_model, d_model: d_model})
    initial_epoch = save.restore()

    # From here on each process draws for itself, and from its own share of the images: an epoch is one pass over all of
    # them, on two machines in half the steps. The shares are equally long, because a step waits for everybody.
    np.random.seed([1, initial_epoch, options.index])
    dataset = kg.load_real_samples(options.data)
    share = len(dataset) // n_processes
    dataset = dataset[options.index * share :][:share]

    # The rule for callbacks: what computes with a network runs in all processes, in the same order, or they wait for
    # each other for ever. What only reads losses and weights, prints or writes may be the first one's alone.
    film = kg.SampleGrid(g_model, latent_points, n_columns=5)  # computes
    kg.train(
        g_model,
        d_model,
        gan_model,
        dataset,
        LATENT_DIM,
        options.epochs,
        options.batch,
        callbacks=[film, save] if first else [film],
        initial_epoch=initial_epoch,
        verbose=2 if first else 0,  # a line an epoch
    )
    if first:
        kg.save_gif(film.frames, f"{options.run}/film.gif")


if __name__ == "__main__":
    main()
