"""A system of your own, on any backend: a `step` of a few lines, and `loop` around it.

    python examples/wasserstein_gan.py                 the drawn faces, a few minutes on two processor cores
    python examples/wasserstein_gan.py --epochs 50     goes on where the run before stopped, Ctrl-C included

The critic of a Wasserstein GAN (Arjovsky et al. 2017) learns five times a step and keeps its weights small. `loop`
drives Keras's callbacks and returns a `History`, so your own callbacks work as they do with `fit`; those that watch a
curve need to be told which way is better: `EarlyStopping(monitor="g_loss", mode="min")`. `SaveRun` saves the whole run,
where `ModelCheckpoint` would see the composite alone, without the critic's optimizer.
"""

import argparse

import keras
import numpy as np
from keras import layers, ops

import keras_gen as kg

LATENT_DIM = 100
BATCH = 64
CRITIC_STEPS = 5
RATE = 5e-5  # RMSprop, as in the paper
CLIP = 0.01


class Clip(keras.constraints.Constraint):
    def __call__(self, w):
        return ops.clip(w, -CLIP, CLIP)


def define_critic():
    model = keras.Sequential([keras.Input((32, 32, 3))], name="critic")
    for filters in (32, 64, 128):  # 32x32 -> 16x16 -> 8x8 -> 4x4
        model.add(
            layers.Conv2D(filters, 4, strides=2, padding="same", kernel_constraint=Clip(), bias_constraint=Clip())
        )
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Flatten())
    model.add(layers.Dense(1, kernel_constraint=Clip(), bias_constraint=Clip()))  # a score: real images high, fakes low
    model.compile(loss=wasserstein, optimizer=keras.optimizers.RMSprop(RATE))
    return model


def wasserstein(y, score):
    """Labels are 1 for real and 0 for fake: the mean of fake scores minus the mean of real ones, half a batch each."""
    return (1 - 2 * y) * score


def define_generator():
    model = keras.Sequential([keras.Input((LATENT_DIM,))], name="generator")
    model.add(layers.Dense(8 * 8 * 64, activation="relu"))
    model.add(layers.Reshape((8, 8, 64)))
    model.add(layers.Conv2DTranspose(32, 4, strides=2, padding="same", activation="relu"))  # 16x16
    model.add(layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh"))
    return model


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Train a Wasserstein GAN.")
    parser.add_argument("--data", default="faces", help="a name for load_dataset, of 32x32 colour images")
    parser.add_argument("--epochs", type=int, default=10, help="the epoch to stop after")
    parser.add_argument("--folder", default="runs/wasserstein_gan", help="where the run is saved")
    options = parser.parse_args(arguments)
    dataset = kg.load_real_samples(options.data)  # float32 in [-1, 1]
    g_model, critic = define_generator(), define_critic()
    networks = g_model, critic
    gan_model = kg.define_gan(g_model, critic, keras.optimizers.RMSprop(RATE))  # G learns by the critic's loss

    def step():
        for _ in range(CRITIC_STEPS):
            real = kg.train_only(critic, networks, critic, *kg.generate_real_samples(dataset, BATCH))
            fake = kg.train_only(critic, networks, critic, *kg.generate_fake_samples(g_model, LATENT_DIM, BATCH))
        points = kg.generate_latent_points(LATENT_DIM, BATCH)
        g = kg.train_only(g_model, networks, gan_model, points, np.ones((BATCH, 1)))
        return {"critic_loss": real["loss"] + fake["loss"], "g_loss": g["loss"]}

    film = kg.SampleGrid(g_model, kg.generate_latent_points(LATENT_DIM, 40), n_columns=10)
    save = kg.SaveRun(options.folder, {g_model: gan_model, critic: critic})
    history = kg.loop(
        step,
        gan_model,
        networks,
        n_epochs=options.epochs,
        n_steps=len(dataset) // BATCH,
        callbacks=[film, keras.callbacks.CSVLogger(f"{options.folder}/log.csv", append=True), save],
        initial_epoch=save.restore(),  # 0 the first time
    )
    kg.save_gif(film.frames, f"{options.folder}/film.gif")
    print(f"The film of the training is {options.folder}/film.gif")
    return history


if __name__ == "__main__":
    main()
