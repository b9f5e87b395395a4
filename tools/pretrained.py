"""Train the models that come with the project: `python tools/pretrained.py NAME`, or `score NAME` to score them only.

NAME is judges, faces_generator, faces_vae, cifar10_dcgan, cifar10_acgan or horse2zebra. The last two, and
cifar10_dcgan, are of photographs: CIFAR-10 and horse2zebra are looked for where `load_dataset` and `load_domains` do.

A generator or VAE is written into data/pretrained/ anew after each epoch, so that the training may be stopped at any
time; those of photographs go on where they were stopped. In the end the scores of the model's card are printed. Two
processor cores need about seven minutes for the faces' generator, three for the VAE, one to two for each epoch of
CIFAR-10's, an hour and a half for horses and zebras, and five minutes for the judges, which need MNIST and CIFAR-10.
"""

import sys

import keras
import numpy as np
from keras import layers, ops

import keras_gen as kg
from keras_gen.cyclegan import LinearDecay
from keras_gen.judge import EPOCHS as JUDGE_EPOCHS
from keras_gen.pretrained import FOLDER, save_pretrained

IMAGES = 30_000  # the first 10,000 are the training images of kg.load_dataset("faces")
SEED = 1

JUDGES = ("digits", "faces", "mnist", "cifar10")

GENERATOR_STEPS = 4000
GENERATOR_BATCH = 64
GENERATOR_RATE = 1e-3
LOOKS = 8  # how often the generator is kept and scored on the way

VAE_EPOCHS = 12
VAE_BATCH = 64
VAE_RATE = 2e-3
VAE_WIDTH_OF_PIXEL = 0.1  # the Gaussian around each pixel, as in notebook 02


def train_judges():
    for name in JUDGES:
        judge = kg.train_judge(name, JUDGE_EPOCHS[name])
        save_pretrained(judge.model, FOLDER / f"judge_{name}.npz", test_accuracy=judge.test_accuracy)


def score_judges():
    for name in JUDGES:
        judge = kg.load_judge(name)  # prints the accuracy that came with it
        print(f"  counted again: {kg.label_accuracy(judge, *kg.load_dataset(name)[1]):.2%}")


def define_generator(width=32):
    """One dense layer, 8x8 wide, and two that enlarge: points `(n, 100)` to images `(n, 32, 32, 3)` in [-1, 1].

    After 2,000 steps of a probe arithmetic with attributes (notebook 05) succeeded in 88 % of trials; with a third
    enlargement, from 4x4 on, in 48 %.
    """
    model = keras.Sequential([keras.Input((100,))], name="generator")
    model.add(layers.Dense(8 * 8 * 2 * width, use_bias=False))
    model.add(layers.BatchNormalization(momentum=0.8))
    model.add(layers.ReLU())
    model.add(layers.Reshape((8, 8, 2 * width)))
    model.add(layers.Conv2DTranspose(width, 4, strides=2, padding="same", use_bias=False))  # 16x16
    model.add(layers.BatchNormalization(momentum=0.8))
    model.add(layers.ReLU())
    model.add(layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh"))
    return model


class BatchSpread(layers.Layer):
    """Adds a channel that holds how much the batch's feature maps differ (Karras et al. 2018, section 3).

    The discriminator sees real and fake images in batches of their own: with this it notices when all fakes are alike.
    """

    def call(self, x):
        spread = ops.mean(ops.sqrt(ops.var(x, axis=0) + 1e-8))  # the root's own slope is infinite at 0
        return ops.concatenate([x, ops.ones_like(x[..., :1]) * spread], axis=-1)


def define_discriminator(rate, width=32):
    model = keras.Sequential([keras.Input((32, 32, 3))], name="discriminator")
    for filters in (width, 2 * width, 4 * width):  # 32x32 -> 16x16 -> 8x8 -> 4x4
        model.add(layers.Conv2D(filters, 4, strides=2, padding="same"))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(BatchSpread())
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.3))
    model.add(layers.Dense(1, activation="sigmoid"))
    model.compile(loss="binary_crossentropy", optimizer=keras.optimizers.Adam(rate, beta_1=0.5))
    return model


class SaveGenerator(keras.callbacks.Callback):
    """Keep the generator after each epoch, in float32, and say how near it is to the test images.

    Where the optimizer averages its weights, the averaged one; its moving means and variances, those of other weights,
    are measured anew.
    """

    def __init__(self, name, define, g_model, judge, images, labels=None):
        super().__init__()
        self.name, self.define, self.g_model = name, define, g_model
        self.judge, self.images, self.labels = judge, images, labels
        self.n_classes = CLASSES if len(g_model.inputs) > 1 else None

    def on_epoch_end(self, epoch, logs=None):
        seeds = np.random.get_state()
        kept = self.g_model
        if self.model.optimizer.use_ema:
            kept = kg.averaged_generator(self.g_model, self.model)
            for _ in range(50):
                kept(kg.generate_latent_points(100, 128, self.n_classes), training=True)
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        shipped = self.define()
        keras.config.set_dtype_policy(policy)
        shipped.set_weights(kept.get_weights())
        save_pretrained(shipped, FOLDER / f"{self.name}.npz")
        points = kg.generate_latent_points(100, len(self.images), self.n_classes)
        samples = shipped.predict(points, verbose=0)
        distance = kg.feature_distance(self.judge, self.images, samples)
        print(f"epoch {epoch + 1}: feature distance to {len(self.images):,} test images {distance:.1f}", flush=True)
        if self.n_classes:
            variety = kg.class_variety(self.judge, samples, points[1][:, 0], self.images, self.labels)
            print("  variety of each class, real ones 1:", *variety.round(2), flush=True)
        np.random.set_state(seeds)


def training_faces():
    return kg.draw_faces(kg.sample_face_attributes(IMAGES, seed=1))


def train_generator():
    keras.utils.set_random_seed(SEED)
    x_train, judge = training_faces(), kg.train_judge("faces")
    g_rate = keras.optimizers.schedules.CosineDecay(GENERATOR_RATE, GENERATOR_STEPS)
    d_rate = keras.optimizers.schedules.CosineDecay(GENERATOR_RATE / 2, 2 * GENERATOR_STEPS)  # two steps a batch
    g_model, d_model = define_generator(), define_discriminator(d_rate)
    gan_model = kg.define_gan(g_model, d_model, keras.optimizers.Adam(g_rate, beta_1=0.5))
    networks, ones = (g_model, d_model), np.ones((GENERATOR_BATCH, 1), "float32")

    def step():
        x = kg.to_tanh(x_train[np.random.randint(0, len(x_train), GENERATOR_BATCH)])
        d_real = kg.train_only(d_model, networks, d_model, x, ones)
        x = ops.convert_to_numpy(g_model(kg.generate_latent_points(100, GENERATOR_BATCH), training=True))
        d_fake = kg.train_only(d_model, networks, d_model, x, 0 * ones)
        g = kg.train_only(g_model, networks, gan_model, kg.generate_latent_points(100, GENERATOR_BATCH), ones)
        return {"d_loss": (d_real["loss"] + d_fake["loss"]) / 2, "g_loss": g["loss"]}

    x_test = kg.load_dataset("faces")[1][0]
    save = SaveGenerator("faces_generator", define_generator, g_model, judge, x_test)
    kg.loop(step, gan_model, networks, LOOKS, GENERATOR_STEPS // LOOKS, callbacks=[save], verbose=2)


def print_scores(judge, samples, x_train, y_train, x_test):
    """Of samples, by the judge, beside equally many real training images."""
    coverage = kg.mode_coverage(judge, samples, y_train)
    precision, recall = kg.precision_recall(kg.judge_features(judge, x_test), kg.judge_features(judge, samples))
    sure, sure_real = (kg.confident_share(judge, images) for images in (samples, x_test))
    print(f"feature distance to the test images {kg.feature_distance(judge, x_test, samples):.1f}")
    print(f"real training images, equally many: {kg.feature_distance(judge, x_test, x_train[: len(x_test)]):.1f}")
    print(f"classes {coverage['classes']} of {coverage['of']}, KL {coverage['kl']:.3f} nats")
    print(f"precision {precision:.2f}, recall {recall:.2f}; sure of {sure:.0%}, of the test images {sure_real:.0%}")
    print(f"memorisation ratio {kg.memorisation_ratio(samples, x_train, x_test):.2f}")


def score_generator(draws=24):
    keras.utils.set_random_seed(SEED)
    (_, y_train), (x_test, _) = kg.load_dataset("faces")
    x_train, judge, generator = training_faces(), kg.train_judge("faces"), kg.load_pretrained("faces_generator")
    samples = [generator.predict(kg.generate_latent_points(100, len(x_test)), verbose=0) for _ in range(draws)]
    print_scores(judge, samples[0], x_train, y_train, x_test)
    distances = sorted(kg.feature_distance(judge, x_test, images) for images in samples)
    print(f"feature distance of {draws} draws of points:", *(f"{distance:.0f}" for distance in distances))


def define_vae(latent_dim=32, width=24):
    """A convolutional VAE, as in notebook 02, for images `(n, 32, 32, 3)` in [0, 1]."""
    x = image = keras.Input((32, 32, 3))
    for filters in (width, 2 * width, 2 * width):  # 32x32 -> 16x16 -> 8x8 -> 4x4
        x = layers.Conv2D(filters, 4, strides=2, padding="same", activation="gelu")(x)
    x = layers.Dense(256, activation="gelu")(layers.Flatten()(x))
    encoder = keras.Model(image, [layers.Dense(latent_dim)(x), layers.Dense(latent_dim)(x)], name="encoder")

    x = point = keras.Input((latent_dim,))
    x = layers.Dense(256, activation="gelu")(x)
    x = layers.Reshape((4, 4, 2 * width))(layers.Dense(4 * 4 * 2 * width, activation="gelu")(x))
    for filters in (2 * width, width):
        x = layers.Conv2DTranspose(filters, 4, strides=2, padding="same", activation="gelu")(x)
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="sigmoid")(x)
    return kg.define_vae(encoder, keras.Model(point, x, name="decoder"))


def squared_error(x, x_hat):
    return ops.sum(ops.square(x - x_hat), axis=(1, 2, 3)) / (2 * VAE_WIDTH_OF_PIXEL**2)


def train_vae():
    keras.utils.set_random_seed(SEED)
    x_train, vae = training_faces(), define_vae()
    n_steps = VAE_EPOCHS * -(-len(x_train) // VAE_BATCH)
    warmup = n_steps // 20
    rate = keras.optimizers.schedules.CosineDecay(0.0, n_steps - warmup, warmup_target=VAE_RATE, warmup_steps=warmup)
    vae.compile(keras.optimizers.Adam(rate), loss=squared_error)
    x_train = kg.to_unit(x_train)
    path = FOLDER / "faces_vae.npz"
    save = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: save_pretrained(vae, path))
    vae.fit(x_train, x_train, batch_size=VAE_BATCH, epochs=VAE_EPOCHS, callbacks=[save], verbose=2)


def score_vae():
    keras.utils.set_random_seed(SEED)
    _, (x_test, y_test) = kg.load_dataset("faces")
    judge, vae = kg.train_judge("faces"), kg.load_pretrained("faces_vae")
    found = vae.predict(kg.to_unit(x_test), verbose=0)
    samples = vae.decoder.predict(kg.generate_latent_points(vae.decoder.input_shape[-1], len(x_test)), verbose=0)
    print(f"mean squared error of test images {np.mean((found - kg.to_unit(x_test)) ** 2):.5f}, of pixels in [0, 1]")
    print(f"label accuracy of their reconstructions {kg.label_accuracy(judge, kg.to_uint8(found, (0, 1)), y_test):.2%}")
    distance = kg.feature_distance(judge, x_test, kg.to_uint8(samples, (0, 1)))
    print(f"feature distance of samples to the test images {distance:.0f}")


# ---- photographs ----

PHOTOS = 25_000  # training images: half of CIFAR-10's, as in notebook 03
PHOTO_BATCH = 64
CLASSES = 10


def define_lecture_generator(width=128):
    """Notebook 03's, as wide as the lecture's: points `(n, 100)` to images `(n, 32, 32, 3)` in [-1, 1]."""
    model = keras.Sequential([keras.Input((100,))], name="generator")
    model.add(layers.Dense(4 * 4 * 2 * width))
    model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Reshape((4, 4, 2 * width)))
    for _ in range(3):  # 4x4 -> 8x8 -> 16x16 -> 32x32
        model.add(layers.Conv2DTranspose(width, 4, strides=2, padding="same"))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Conv2D(3, 3, padding="same"))
    model.add(layers.Activation("tanh", dtype="float32"))
    return model


def define_lecture_discriminator(width=128):
    """Notebook 03's, as wide as the lecture's."""
    model = keras.Sequential([keras.Input((32, 32, 3))], name="discriminator")
    for filters, strides in ((width // 2, 1), (width, 2), (width, 2), (2 * width, 2)):  # 32x32 -> 16 -> 8 -> 4x4
        model.add(layers.Conv2D(filters, 3, strides=strides, padding="same"))
        model.add(layers.LeakyReLU(negative_slope=0.2))
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.4))
    model.add(layers.Dense(1, activation="sigmoid", dtype="float32"))
    optimizer = keras.optimizers.Adam(2e-4, beta_1=0.5)
    model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return model


def define_photo_generator():
    """The DCGAN paper's, told a class: points `(n, 100)` and classes `(n, 1)` to images `(n, 32, 32, 3)` in [-1, 1]."""
    point, label = keras.Input((100,)), keras.Input((1,), dtype="int32")
    one_hot = layers.CategoryEncoding(CLASSES, output_mode="one_hot")(label)
    # As loud as nine of the hundred numbers. In probes with a projection in D, 1,600 steps, a class as loud as one
    # number was not heard, and one as loud as 36 drowned the points.
    x = layers.Concatenate()([point, layers.Rescaling(3.0)(one_hot)])
    x = layers.Reshape((4, 4, 256))(layers.Dense(4 * 4 * 256, use_bias=False)(x))
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    for filters in (128, 64):  # 4x4 -> 8x8 -> 16x16
        x = layers.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same")(x)
    return keras.Model([point, label], layers.Activation("tanh", dtype="float32")(x), name="generator")


NOT_ASKED = -1  # in the place of a class
# Asked so, and not by targets of zeros only: there TensorFlow's cross-entropy is 0, but its gradient is the softmax.
CLASS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=NOT_ASKED)
CLASSIFYING_LOSS = {"real": "binary_crossentropy", "class": CLASS_LOSS}


def define_classifying_discriminator(rate):
    """Two heads on one body: real or fake, and which of the classes (AC-GAN, Odena et al. 2017)."""
    x = image = keras.Input((32, 32, 3))
    for filters, kernel, strides in ((64, 4, 2), (128, 4, 2), (128, 3, 1), (256, 4, 2)):  # 32x32 -> 16 -> 8 -> 8 -> 4x4
        x = layers.Conv2D(filters, kernel, strides=strides, padding="same")(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.Dropout(0.4, dtype="float32")(layers.Flatten(dtype="float32")(x))
    real = layers.Dense(1, activation="sigmoid", dtype="float32")(x)
    logits = layers.Dense(CLASSES, dtype="float32")(x)
    d_model = keras.Model(image, {"real": real, "class": logits}, name="discriminator")
    d_model.compile(loss=CLASSIFYING_LOSS, optimizer=keras.optimizers.Adam(rate, beta_1=0.5))
    return d_model


def prepare_photographs():
    """CIFAR-10's training images and classes, and what scores an epoch: its judge, 2,500 test images and classes."""
    keras.utils.set_random_seed(SEED)
    (x_train, y_train), (x_test, y_test) = kg.load_dataset("cifar10")
    judge = kg.train_judge("cifar10")
    keras.config.set_dtype_policy("mixed_bfloat16")  # twice as fast on processors that calculate in it
    return (x_train[:PHOTOS], y_train[:PHOTOS]), (judge, x_test[:2500], y_test[:2500])


def train_dcgan(n_epochs=60):
    (x_train, _), scored_by = prepare_photographs()
    g_model, d_model = define_lecture_generator(), define_lecture_discriminator()
    gan_model = kg.define_gan(g_model, d_model, keras.optimizers.Adam(2e-4, beta_1=0.5))
    save = kg.SaveRun("runs/cifar10_dcgan", {g_model: gan_model, d_model: d_model})
    done = save.restore()
    callbacks = [save, SaveGenerator("cifar10_dcgan", define_lecture_generator, g_model, *scored_by)]
    kg.train(g_model, d_model, gan_model, x_train, 100, n_epochs, PHOTO_BATCH, callbacks, done, verbose=2)


def train_acgan(n_epochs=29):
    train, scored_by = prepare_photographs()
    n_steps = len(train[0]) // PHOTO_BATCH
    # The rates are those of 100 epochs. After all of them the frogs were one picture and the birds nearly so, while the
    # feature distance had fallen on, from 20 after 29 epochs to 14.
    g_rate = keras.optimizers.schedules.CosineDecay(2e-4, 100 * n_steps)
    d_rate = keras.optimizers.schedules.CosineDecay(2e-4, 2 * 100 * n_steps)  # two steps a batch
    g_model, d_model = define_photo_generator(), define_classifying_discriminator(d_rate)
    gan_model = keras.Model(g_model.inputs, d_model(g_model.output), name="gan")
    adam = keras.optimizers.Adam(g_rate, beta_1=0.5, use_ema=True, ema_momentum=0.999)
    gan_model.compile(loss=CLASSIFYING_LOSS, loss_weights={"real": 1.0, "class": 0.5}, optimizer=adam)
    networks, half = (g_model, d_model), PHOTO_BATCH // 2

    def step():
        (x, labels), ones = kg.generate_real_samples(train, half)
        mirrored = np.random.random((half, 1, 1, 1)) < 0.5
        x = np.where(mirrored, x[:, :, ::-1], x)
        d_real = kg.train_only(d_model, networks, d_model, x, {"real": ones, "class": labels})
        # With the batch's own means, as G will be in its own step: predict would take the moving ones.
        x = ops.convert_to_numpy(g_model(kg.generate_latent_points(100, half, CLASSES), training=True))
        only_real_or_fake = {"real": np.zeros_like(ones), "class": np.full_like(labels, NOT_ASKED)}
        d_fake = kg.train_only(d_model, networks, d_model, x, only_real_or_fake)
        points, labels = kg.generate_latent_points(100, PHOTO_BATCH, CLASSES)
        wanted = {"real": np.ones((PHOTO_BATCH, 1), "float32"), "class": labels}
        g = kg.train_only(g_model, networks, gan_model, [points, labels], wanted)
        logs = {"d_loss_real": d_real["real_loss"], "d_loss_fake": d_fake["real_loss"], "g_loss": g["real_loss"]}
        return logs | {"d_class": d_real["class_loss"], "g_class": g["class_loss"]}

    save = kg.SaveRun("runs/cifar10_acgan", {g_model: gan_model, d_model: d_model})
    done = save.restore()
    callbacks = [save, SaveGenerator("cifar10_acgan", define_photo_generator, g_model, *scored_by)]
    kg.loop(step, gan_model, networks, n_epochs, n_steps, callbacks, done, verbose=2)


def score_photographs(name, n_classes=None):
    keras.utils.set_random_seed(SEED)
    (x_train, y_train), (x_test, y_test) = kg.load_dataset("cifar10")
    x_train, y_train, x_test, y_test = x_train[:PHOTOS], y_train[:PHOTOS], x_test[:5000], y_test[:5000]
    judge, points = kg.train_judge("cifar10"), kg.generate_latent_points(100, len(x_test), n_classes)
    samples = kg.load_pretrained(name).predict(points, batch_size=100, verbose=0)
    print_scores(judge, samples, x_train, y_train, x_test)
    if n_classes:
        obeyed, real = kg.label_accuracy(judge, samples, points[1][:, 0]), kg.label_accuracy(judge, x_test, y_test)
        print(f"taken for the class asked for {obeyed:.0%}, test images for theirs {real:.0%}")
        variety = kg.class_variety(judge, samples, points[1][:, 0], x_test, y_test)
        print("variety of each class, real ones 1:", *variety.round(2))


# ---- horses and zebras ----

HORSE_PIXELS = 128
CROP = 64  # the piece of a photograph that a step sees; the networks take pictures of any size
MARGIN = 16  # pixels along each edge that no piece shows: animals are in the middle
CROPS = 8  # of each domain for a discriminator's step
TRANSLATED = 2  # of each domain for the generators' step, which costs ten times as much
CYCLE = 3  # the weight of the cycle losses; the paper: 10
HORSE_RATE = 4e-4
HORSE_EPOCHS, HORSE_STEPS = 100, 200
SHOWN_LATER = 200  # translations of earlier steps to choose from; the paper: 50, one a step


def normalised(x, activation):
    """Each pixel's channels, and not each channel's pixels: so a piece is translated as it is within the whole.

    With the instance normalisation of lecture and paper the translators, trained on crops, painted the horses of crops
    and the meadows of whole photographs.
    """
    return layers.Activation(activation)(layers.LayerNormalization()(x))


def define_translator(name="AtoB", width=32, n_blocks=3):
    """Notebook 06's with `head="skip"`: photographs `(n, height, width, 3)` in [-1, 1], sides in fours, to such ones.

    Zeros around the edges, as in the lecture's tutorial: older versions of Keras cannot load reflection from a file.
    """
    image = keras.Input((None, None, 3))
    x = normalised(layers.Conv2D(width, 7, padding="same")(image), "relu")
    for filters in (2 * width, 4 * width):
        x = normalised(layers.Conv2D(filters, 3, strides=2, padding="same")(x), "relu")
    for _ in range(n_blocks):
        y = normalised(layers.Conv2D(4 * width, 3, padding="same")(x), "relu")
        x = layers.add([x, normalised(layers.Conv2D(4 * width, 3, padding="same")(y), "linear")])
    for filters in (2 * width, width):
        x = normalised(layers.Conv2D(filters, 3, padding="same")(layers.UpSampling2D()(x)), "relu")
    x = layers.concatenate([x, image])
    return keras.Model(image, layers.Conv2D(3, 7, padding="same", activation="tanh")(x), name=name)


class FadedColours(layers.Layer):
    """While it trains: each image's colours faded, its contrast and brightness changed, by as much as chance says.

    Meadows are green where the horses are and yellow where the zebras are. A discriminator that can see it asks for
    tints, and gets them; one that cannot rely on it has to look for stripes (Zhao et al. 2020 shift colours so).
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(SEED)

    def call(self, x, training=None):
        if not training:
            return x
        saturation, contrast, brightness = (
            keras.random.uniform((ops.shape(x)[0], 1, 1, 1), lowest, highest, seed=self.seeds)
            for lowest, highest in ((0, 1), (0.6, 1.4), (-0.25, 0.25))
        )
        grey = ops.sum(x * ops.array([0.299, 0.587, 0.114]), axis=-1, keepdims=True)
        x = grey + saturation * (x - grey)
        mean = ops.mean(x, axis=(1, 2, 3), keepdims=True)
        return mean + contrast * (x - mean) + brightness


def define_patch_discriminator(name, width=32):
    """Notebook 06's, with patches of 34x34, behind `FadedColours`."""
    image = keras.Input((None, None, 3))
    x = FadedColours()(image)
    x = layers.LeakyReLU(negative_slope=0.2)(layers.Conv2D(width, 4, strides=2, padding="same")(x))
    for filters, strides in ((2 * width, 2), (4 * width, 1)):
        x = layers.Conv2D(filters, 4, strides=strides, padding="same")(x)
        x = layers.LeakyReLU(negative_slope=0.2)(layers.GroupNormalization(groups=-1)(x))
    d_model = keras.Model(image, layers.Conv2D(1, 4, padding="same")(x), name=name)
    d_model.compile(loss="mse", optimizer=keras.optimizers.Adam(HORSE_RATE, beta_1=0.5))
    return d_model


def define_joint_model(g_model_AtoB, g_model_BtoA, d_model_A, d_model_B):
    """One composite through which both generators learn at once, as in the code of the paper's authors.

    It gives the gradients of the lecture's two composites with the identity losses away, at half of the work.
    """
    a, b = keras.Input((CROP, CROP, 3)), keras.Input((CROP, CROP, 3))
    fake_b, fake_a = g_model_AtoB(a), g_model_BtoA(b)
    outputs = {"adversarial_A": d_model_A(fake_a), "adversarial_B": d_model_B(fake_b)}
    outputs |= {"cycle_A": g_model_BtoA(fake_b), "cycle_B": g_model_AtoB(fake_a)}
    outputs = {name: layers.Identity(name=name)(output) for name, output in outputs.items()}
    model = keras.Model([a, b], outputs, name="joint")
    model.compile(
        loss=dict(zip(outputs, ("mse", "mse", "mae", "mae"), strict=True)),
        loss_weights=dict(zip(outputs, (1, 1, CYCLE, CYCLE), strict=True)),
        optimizer=keras.optimizers.Adam(HORSE_RATE, beta_1=0.5, use_ema=True, ema_momentum=0.998),
    )
    return model


def crop(photographs, n):
    """Random squares of random photographs, mirrored or not, in [-1, 1]."""
    which, room = np.random.randint(0, len(photographs), (n, 1, 1)), photographs.shape[1] - CROP - 2 * MARGIN + 1
    top, left = MARGIN + np.random.randint(0, room, (2, n, 1, 1))
    rows, columns = np.arange(CROP)[:, None], np.arange(CROP)
    columns = np.where(np.random.random((n, 1, 1)) < 0.5, columns, columns[::-1])
    return kg.to_tanh(photographs[which, top + rows, left + columns])


def train_translators():
    """The discriminators see more than the generators do: they must know stripes before G can be told of them.

    Their real images are several pieces, and two of their fakes are not translated at all: photographs of the other
    domain. So a generator that copies, which costs nothing in the cycle losses, is told apart in every step.
    """
    keras.utils.set_random_seed(SEED)
    (train_a, train_b), _ = kg.load_domains("horse2zebra", HORSE_PIXELS)
    generators = define_translator("AtoB"), define_translator("BtoA")
    d_model_A, d_model_B = define_patch_discriminator("d_A"), define_patch_discriminator("d_B")
    joint = define_joint_model(*generators, d_model_A, d_model_B)
    networks = *generators, d_model_A, d_model_B
    ones = np.ones(d_model_A.compute_output_shape((CROPS, CROP, CROP, 3)), "float32")  # a label a patch
    labels, earlier_A, earlier_B = np.concatenate([ones, 0 * ones]), {}, {}

    def step():
        a, b = crop(train_a, TRANSLATED), crop(train_b, TRANSLATED)
        fake_b, fake_a = (g_model.predict_on_batch(x) for g_model, x in zip(generators, (a, b), strict=True))
        wanted = {"adversarial_A": ones[:TRANSLATED], "adversarial_B": ones[:TRANSLATED], "cycle_A": a, "cycle_B": b}
        logs = kg.train_only(generators, networks, joint, [a, b], wanted)
        for d_model, own, other, fakes, earlier in (
            (d_model_A, train_a, train_b, fake_a, earlier_A),
            (d_model_B, train_b, train_a, fake_b, earlier_B),
        ):
            for fake in fakes:  # not saved with the run: one that goes on collects them anew
                earlier[len(earlier) if len(earlier) < SHOWN_LATER else np.random.randint(SHOWN_LATER)] = fake
            old = [earlier[ix] for ix in np.random.randint(0, len(earlier), CROPS - TRANSLATED - 2)]
            x = np.concatenate([crop(own, CROPS), fakes, np.stack(old), crop(other, 2)])
            logs[f"{d_model.name}_loss"] = kg.train_only(d_model, networks, d_model, x, labels)["loss"]
        return logs

    def keep(epoch, logs=None):
        learning = [network for network in joint.layers if network in generators]  # the averages are in this order
        latest = [g_model.get_weights() for g_model in generators]
        joint.optimizer.finalize_variable_values([v for network in learning for v in network.trainable_variables])
        for g_model, weights, name in zip(generators, latest, ("horse2zebra", "zebra2horse"), strict=True):
            save_pretrained(g_model, FOLDER / f"{name}.npz")  # the averages have taken the weights' place
            g_model.set_weights(weights)

    models = dict.fromkeys(generators, joint) | {d_model_A: d_model_A, d_model_B: d_model_B}
    save = kg.SaveRun("runs/horse2zebra", models)
    done = save.restore()
    callbacks = [LinearDecay([model.optimizer for model in (joint, d_model_A, d_model_B)]), save]
    callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=keep))
    kg.loop(step, joint, networks, HORSE_EPOCHS, HORSE_STEPS, callbacks, done, verbose=2)


def halved(photographs):
    """In [-1, 1], each 2x2 pixels as their mean: small enough for a judge to learn from."""
    n, size, _, _ = photographs.shape
    return kg.to_tanh(photographs).reshape(n, size // 2, 2, size // 2, 2, 3).mean(axis=(2, 4))


def score_translators():
    """How many translations a judge takes for the other animal; it has learnt from the training photographs alone."""
    keras.utils.set_random_seed(SEED)
    sets = kg.load_domains("horse2zebra", HORSE_PIXELS)
    images = [np.concatenate([halved(photographs) for photographs in domains]) for domains in sets]
    labels = [np.repeat([0, 1], [len(photographs) for photographs in domains]) for domains in sets]
    judge = kg.train_judge(list(zip(images, labels, strict=True)))
    generators = [kg.load_pretrained(name) for name in ("horse2zebra", "zebra2horse")]
    for label, (there, back) in enumerate((generators, generators[::-1])):
        x = kg.to_tanh(sets[1][label])
        translated = there.predict(x, batch_size=20, verbose=0)
        again = back.predict(translated, batch_size=20, verbose=0)
        before, after = (np.mean(kg.predict_labels(judge, halved(images)) != label) for images in (x, translated))
        print(f"{('horses', 'zebras')[label]}: taken for the other {before:.0%}, translated {after:.0%};", end=" ")
        print(
            f"L1 of the translation {np.abs(translated - x).mean():.3f}, there and back {np.abs(again - x).mean():.3f}"
        )


TRAININGS = {
    "judges": (train_judges, score_judges),
    "faces_generator": (train_generator, score_generator),
    "faces_vae": (train_vae, score_vae),
    "cifar10_dcgan": (train_dcgan, lambda: score_photographs("cifar10_dcgan")),
    "cifar10_acgan": (train_acgan, lambda: score_photographs("cifar10_acgan", CLASSES)),
    "horse2zebra": (train_translators, score_translators),
}

if __name__ == "__main__":
    *only, name = sys.argv[1:] or [""]
    if name not in TRAININGS or only not in ([], ["score"]):
        sys.exit(__doc__)
    FOLDER.mkdir(exist_ok=True)
    train_it, score_it = TRAININGS[name]
    if not only:
        train_it()
    score_it()
