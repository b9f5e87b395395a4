"""Train the models of drawn faces that come with the project: `python tools/pretrained.py faces_generator|faces_vae`.

A model is written into data/pretrained/ anew after each epoch, so that the training may be stopped at any time. In the
end the scores for its card in data/README.md are printed. Two processor cores need about a minute for an epoch of the
generator, a quarter of one for the VAE.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

from keras_gen import (
    averaged_generator,
    define_gan,
    draw_faces,
    feature_distance,
    generate_latent_points,
    judge_features,
    label_accuracy,
    load_dataset,
    memorisation_ratio,
    mode_coverage,
    precision_recall,
    sample_face_attributes,
    train,
    train_judge,
)
from keras_gen.pretrained import FOLDER, define_face_generator, define_face_vae, load_pretrained, save_pretrained

IMAGES = 30_000  # the first 10,000 are the training images of load_dataset("faces")
SEED = 1

EPOCHS = 20  # of the generator
BATCH = 32
WIDTH = 48
RATE = 5e-4

VAE_EPOCHS = 12
VAE_BATCH = 64
VAE_RATE = 2e-3
VAE_WIDTH_OF_PIXEL = 0.1  # the Gaussian around each pixel, as in notebook 02


class BatchSpread(layers.Layer):
    """Adds a channel that holds how much the batch's feature maps differ (Karras et al. 2018, section 3).

    The discriminator sees real and fake images in batches of their own: with this it notices when all fakes are alike.
    """

    def call(self, x):
        spread = ops.mean(ops.std(x, axis=0))
        return ops.concatenate([x, ops.ones_like(x[..., :1]) * spread], axis=-1)


def define_discriminator(rate):
    model = keras.Sequential([keras.Input((32, 32, 3))], name="discriminator")
    for filters, strides in ((WIDTH // 2, 1), (WIDTH, 2), (WIDTH, 2), (2 * WIDTH, 2)):  # 32x32 -> 16 -> 8 -> 4x4
        model.add(layers.Conv2D(filters, 3, strides=strides, padding="same", kernel_initializer="he_normal"))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(BatchSpread())
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.4))
    model.add(layers.Dense(1, activation="sigmoid"))
    optimizer = keras.optimizers.Adam(rate, beta_1=0.5)
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return model


class SaveAverage(keras.callbacks.Callback):
    """Keep the averaged generator after each epoch, and say how near it is to the training images."""

    def __init__(self, g_model, judge, images):
        super().__init__()
        self.g_model, self.judge, self.images = g_model, judge, images

    def on_epoch_end(self, epoch, logs=None):
        average = averaged_generator(self.g_model, self.model)
        save_pretrained(average, FOLDER / "faces_generator.npz")
        samples = average.predict(generate_latent_points(100, len(self.images)), verbose=0)
        distance = feature_distance(self.judge, self.images, samples)
        print(f"epoch {epoch + 1}: feature distance to {len(samples):,} training images {distance:.1f}", flush=True)


def train_generator(judge, x_train):
    n_steps = EPOCHS * (IMAGES // BATCH)
    g_model = define_face_generator(width=WIDTH)
    d_model = define_discriminator(keras.optimizers.schedules.CosineDecay(RATE, 2 * n_steps))  # two steps a batch
    gan_model = define_gan(g_model, d_model)
    rate = keras.optimizers.schedules.CosineDecay(RATE, n_steps)
    optimizer = keras.optimizers.Adam(rate, beta_1=0.5, use_ema=True, ema_momentum=0.999)
    gan_model.compile(loss="binary_crossentropy", optimizer=optimizer)
    save = SaveAverage(g_model, judge, x_train[:2000])
    train(g_model, d_model, gan_model, x_train / np.float32(127.5) - 1, 100, EPOCHS, BATCH, callbacks=[save])


def score_generator(generator, judge, x_train):
    (_, y_train), (x_test, _) = load_dataset("faces")
    samples = generator.predict(generate_latent_points(100, len(x_test)), verbose=0)
    coverage = mode_coverage(judge, samples, y_train)
    precision, recall = precision_recall(judge_features(judge, x_test), judge_features(judge, samples))
    print(f"feature distance to the test images {feature_distance(judge, x_test, samples):.1f}")
    print(f"real training images, equally many: {feature_distance(judge, x_test, x_train[: len(x_test)]):.1f}")
    print(f"classes {coverage['classes']} of {coverage['of']}, KL {coverage['kl']:.3f} nats")
    print(f"precision {precision:.2f}, recall {recall:.2f}")
    print(f"memorisation ratio {memorisation_ratio(samples, x_train, x_test):.2f}")


def squared_error(x, x_hat):
    return ops.sum(ops.square(x - x_hat), axis=(1, 2, 3)) / (2 * VAE_WIDTH_OF_PIXEL**2)


def train_vae(judge, x_train):
    vae = define_face_vae()
    n_steps = VAE_EPOCHS * -(-len(x_train) // VAE_BATCH)
    warmup = n_steps // 20
    rate = keras.optimizers.schedules.CosineDecay(0.0, n_steps - warmup, warmup_target=VAE_RATE, warmup_steps=warmup)
    vae.compile(keras.optimizers.Adam(rate), loss=squared_error)
    x_train = x_train / np.float32(255)
    path = FOLDER / "faces_vae.npz"
    save = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: save_pretrained(vae, path))
    vae.fit(x_train, x_train, batch_size=VAE_BATCH, epochs=VAE_EPOCHS, callbacks=[save], verbose=2)


def score_vae(vae, judge, x_train):
    _, (x_test, y_test) = load_dataset("faces")
    x_test = x_test / np.float32(255)
    found = vae.predict(x_test, verbose=0)
    samples = vae.decoder.predict(generate_latent_points(vae.decoder.input_shape[-1], len(x_test)), verbose=0)
    print(f"mean squared error of test images {np.mean((found - x_test) ** 2):.5f}, of pixels in [0, 1]")
    print(f"label accuracy of their reconstructions {label_accuracy(judge, 2 * found - 1, y_test):.2%}")
    distance = feature_distance(judge, 2 * x_test - 1, 2 * samples - 1)
    print(f"feature distance of samples to the test images {distance:.0f}")


if __name__ == "__main__":
    makers = {"faces_generator": (train_generator, score_generator), "faces_vae": (train_vae, score_vae)}
    if len(sys.argv) != 2 or sys.argv[1] not in makers:
        sys.exit(__doc__)
    train_it, score_it = makers[sys.argv[1]]
    keras.utils.set_random_seed(SEED)
    x_train = draw_faces(sample_face_attributes(IMAGES, seed=1))
    judge = train_judge("faces")
    FOLDER.mkdir(exist_ok=True)
    train_it(judge, x_train)
    score_it(load_pretrained(sys.argv[1]), judge, x_train)
