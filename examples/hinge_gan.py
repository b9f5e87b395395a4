"""A system of your own, on any backend: a `step` of a few lines, and `loop` around it.

    python examples/hinge_gan.py                 the drawn faces, a few minutes on two processor cores
    python examples/hinge_gan.py --epochs 50     goes on where the run before stopped, Ctrl-C included

A GAN whose discriminator learns by the hinge loss, real images above 1 and fakes below -1, while the generator simply
raises its score (Lim and Ye 2017; Miyato et al. 2018 made it known): two losses, where `train` has one.
`loop` drives Keras's callbacks and returns a `History`, so your own callbacks work as they do with `fit`; those that
watch a curve need to be told which way is better: `EarlyStopping(monitor="g_loss", mode="min")`. `SaveRun` saves the
whole run, where `ModelCheckpoint` would see the composite alone, without the discriminator's optimizer.
"""

import argparse

import keras
import numpy as np
from keras import layers

import keras_gen as kg

LATENT_DIM = 100
BATCH = 64
RATE = 5e-4


def define_discriminator():
    model = keras.Sequential([keras.Input((32, 32, 3))], name="discriminator")
    for filters in (32, 64, 128):  # 32x32 -> 16x16 -> 8x8 -> 4x4
        model.add(layers.Conv2D(filters, 4, strides=2, padding="same"))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.3))
    model.add(layers.Dense(1))  # a score of either sign
    model.compile(loss="hinge", optimizer=keras.optimizers.Adam(RATE, beta_1=0.5))
    return model


def define_generator():
    model = keras.Sequential([keras.Input((LATENT_DIM,))], name="generator")
    model.add(layers.Dense(8 * 8 * 64))
    model.add(layers.Reshape((8, 8, 64)))
    model.add(layers.LayerNormalization())
    model.add(layers.ReLU())
    model.add(layers.Conv2DTranspose(32, 4, strides=2, padding="same"))  # 16x16
    model.add(layers.LayerNormalization())
    model.add(layers.ReLU())
    model.add(layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh"))
    return model


def raise_the_score(y, score):
    return -score


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Train a GAN with the hinge loss.")
    parser.add_argument("--data", default="faces", help="a name for load_dataset, of 32x32 colour images")
    parser.add_argument("--epochs", type=int, default=10, help="the epoch to stop after")
    parser.add_argument("--folder", default="runs/hinge_gan", help="where the run is saved")
    options = parser.parse_args(arguments)
    dataset = kg.load_real_samples(options.data)  # float32 in [-1, 1]
    g_model, d_model = define_generator(), define_discriminator()
    networks = g_model, d_model
    gan_model = kg.define_gan(g_model, d_model)
    gan_model.compile(loss=raise_the_score, optimizer=keras.optimizers.Adam(RATE, beta_1=0.5))
    ones = np.ones((BATCH, 1), "float32")

    def step():
        x_real, _ = kg.generate_real_samples(dataset, BATCH)
        real = kg.train_only(d_model, networks, d_model, x_real, ones)
        x_fake, _ = kg.generate_fake_samples(g_model, LATENT_DIM, BATCH)
        fake = kg.train_only(d_model, networks, d_model, x_fake, -ones)
        points = kg.generate_latent_points(LATENT_DIM, BATCH)
        g = kg.train_only(g_model, networks, gan_model, points, ones)
        return {"d_loss_real": real["loss"], "d_loss_fake": fake["loss"], "g_loss": g["loss"]}

    film = kg.SampleGrid(g_model, kg.generate_latent_points(LATENT_DIM, 40), n_columns=10)
    save = kg.SaveRun(options.folder, {g_model: gan_model, d_model: d_model})
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
