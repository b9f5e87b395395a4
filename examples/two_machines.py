"""Train the lecture's DCGAN on two machines at once, or on more: each learns from its own images, all have one GAN.

    KERAS_BACKEND=jax python examples/two_machines.py host1:1234,host2:1234 0     on the first machine
    KERAS_BACKEND=jax python examples/two_machines.py host1:1234,host2:1234 1     on the second

Start them in any order, with the same arguments: they wait five minutes for each other. Without addresses one process
trains on all devices of its machine.
The lecture's size is `--data cifar10 --epochs 200 --width 128`, and `--batch 64` on each of two machines.
"""

import argparse
import os
import socket
import sys
import time
import zlib
from pathlib import Path

import keras
import numpy as np
from keras import layers

import keras_gen as kg

LATENT_DIM = 100
PATIENCE = 300  # seconds: how long the processes wait for each other; JAX's own limit


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


def join(addresses, index):
    """Make one of all processes, as soon as they are there; wrong addresses end this one with a sentence.

    Args:
        addresses: `host:port` of each, joined by commas; the processes meet at the first.
        index: which of them this is, from 0.
    """
    names = addresses.split(",")
    if len(names) < 2:
        sys.exit("One address is too few: write those of all processes, joined by commas, or none to train alone.")
    for name in names:
        host, _, port = name.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            sys.exit(f"{name!r} is no address: write host:port for each process, the port between 1 and 65535.")
    if not 0 <= index < len(names):
        sys.exit(f"There are {len(names)} addresses, and so no process {index}: they are counted from 0.")
    host, _, port = names[0].rpartition(":")
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except (OSError, UnicodeError):
        sys.exit(f"This machine knows no host {host!r}: write a name that it knows, or a number such as 192.168.0.2.")
    if index == 0:
        check_free(int(port))
        print(f"Waiting five minutes at most for {', '.join(names[1:])} ...", flush=True)
    else:
        print(f"Waiting five minutes at most for the first process, {names[0]} ...", flush=True)
        wait_for(host.strip("[]"), int(port))
    keras.distribution.initialize(addresses, len(names), index)


def check_free(port):
    """JAX dies without a word where another program has the port."""
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        sys.exit(f"Port {port} cannot be had here ({os.strerror(error.errno)}): name another one, in every process.")


def wait_for(host, port):
    """Until there is somebody; JAX waits in silence, and then dies."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection((host, port), timeout=5).close()
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(
                    f"Nobody answers at {host}:{port} ({error}): was the first process started, with 0 at the end?"
                )
        time.sleep(0.5)


def check_same(what):
    """End every process with a sentence where they differ in one of these values; else they would wait for ever.

    Args:
        what: dictionary of name and value.
    """
    from jax.experimental import multihost_utils

    here = np.array([zlib.crc32(repr(value).encode()) for value in what.values()], "uint32")
    everywhere = multihost_utils.process_allgather(here)
    if different := [name for name, same in zip(what, (everywhere == here).all(axis=0), strict=True) if not same]:
        values = ", ".join(f"{name} is {what[name]!r} here" for name in different)
        sys.exit(f"The processes differ, and must not: {values}. Start all of them alike.")


def last_save(folder):
    """Name and checksum of the file that a training goes on with; None where it is the first."""
    files = sorted(Path(folder).glob("epoch-*.npz"))
    return (files[-1].name, zlib.crc32(files[-1].read_bytes())) if files else None


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
    if options.addresses:
        join(options.addresses, options.index)
    dataset = kg.load_real_samples(options.data)
    if options.addresses:
        arguments = {name: value for name, value in vars(options).items() if name not in ("index", "run")}
        check_same({**arguments, "the number of images": len(dataset), "the last save": last_save(options.run)})
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
