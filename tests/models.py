"""Tiny networks of the lecture's shape for the tests: 8x8 images, a latent space of 4."""

import keras
from keras import layers

LATENT_DIM = 4
SHAPE = (8, 8, 1)


def define_discriminator(batchnorm=False, n_classes=None):
    image = inputs = keras.Input(SHAPE)
    if n_classes:
        label = keras.Input((1,))
        plane = layers.Reshape(SHAPE)(layers.Dense(64)(layers.Embedding(n_classes, 5)(label)))
        image, inputs = layers.Concatenate()([image, plane]), [image, label]
    x = layers.Conv2D(6, 3, strides=2, padding="same")(image)
    if batchnorm:
        x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.Dropout(0.4, seed=1)(layers.Flatten()(x))  # without a seed torch draws from a state that no save holds
    d_model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x), name="discriminator")
    optimizer = keras.optimizers.Adam(learning_rate=2e-3, beta_1=0.5)
    d_model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return d_model


def define_generator(n_classes=None):
    x = inputs = keras.Input((LATENT_DIM,))
    if n_classes:
        label = keras.Input((1,))
        x = layers.Concatenate()([x, layers.Flatten()(layers.Embedding(n_classes, 5)(label))])
        inputs = [inputs, label]
    x = layers.LeakyReLU(negative_slope=0.2)(layers.Dense(4 * 4 * 6)(x))
    x = layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh")(layers.Reshape((4, 4, 6))(x))
    return keras.Model(inputs, x, name="generator")
