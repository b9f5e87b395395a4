"""The benchmark's GANs in Keras, and four ways to write their training step."""

import ast
import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_gen as kg

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LATENT_DIM = 100
LOGS = ["d_loss_real", "d_loss_fake", "g_loss", "d_acc_real", "d_acc_fake"]


def notebook_functions(notebook, wanted, **constants):
    """The functions `wanted` as a notebook defines them, so that page and benchmark cannot drift apart: a dict by name.
    `constants` are the notebook's that they use."""
    names = {"keras": keras, "layers": layers, "np": np, "kg": kg, **constants}
    for cell in json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and any(f"def {name}(" in source for name in wanted):
            for node in ast.parse(source).body:  # the function, not what the cell then does with it
                if isinstance(node, ast.FunctionDef) and node.name in wanted:
                    exec(ast.unparse(node), names)
    return {name: names[name] for name in wanted}


def define_dcgan(latent_dim, width):
    """Generator and discriminator of the notebook."""
    wanted = ["define_generator", "define_discriminator"]
    functions = notebook_functions("03_dcgan_cifar10", wanted, WIDTH=width)
    return functions["define_generator"](latent_dim), functions["define_discriminator"]()


def define_dense_gan(latent_dim, width):
    """Two hidden layers on either side, as in most first GANs: 256 and 512 units at width 128."""
    g_model = keras.Sequential([keras.Input((latent_dim,))])
    d_model = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten()])
    for model, sizes in ((g_model, (2 * width, 4 * width)), (d_model, (4 * width, 2 * width))):
        for units in sizes:
            model.add(layers.Dense(units))
            model.add(layers.LeakyReLU(negative_slope=0.2))
    g_model.add(layers.Dense(784, activation="tanh"))
    g_model.add(layers.Reshape((28, 28, 1)))
    d_model.add(layers.Dense(1, activation="sigmoid"))
    optimizer = keras.optimizers.Adam(learning_rate=2e-4, beta_1=0.5)
    d_model.compile(loss="binary_crossentropy", optimizer=optimizer, metrics=["accuracy"])
    return g_model, d_model


# A variant is a function that makes a loop; a loop does len(images) // n_batch steps and calls tick(logs) after each.


def module_loop(g_model, d_model, images, n_batch):
    """(a) `train` itself, one epoch; a callback ticks."""
    gan_model = kg.define_gan(g_model, d_model)

    def loop(tick):
        clock = keras.callbacks.LambdaCallback(on_train_batch_end=lambda i, logs: tick([logs[name] for name in LOGS]))
        kg.train(g_model, d_model, gan_model, images, LATENT_DIM, n_epochs=1, n_batch=n_batch, callbacks=[clock])

    return loop


def fused_loop(g_model, d_model, images, n_batch):
    """(b) The whole step in one graph: nothing left between TensorFlow's operations."""
    bce = keras.losses.BinaryCrossentropy()
    d_weights, g_weights = d_model.trainable_variables, g_model.trainable_variables
    d_optimizer = keras.optimizers.Adam(learning_rate=2e-4, beta_1=0.5)
    g_optimizer = keras.optimizers.Adam(learning_rate=2e-4, beta_1=0.5)
    d_optimizer.build(d_weights)
    g_optimizer.build(g_weights)
    n_steps, half_batch = len(images) // n_batch, n_batch // 2

    def learn(answer, x, y, weights, optimizer):
        with tf.GradientTape() as tape:
            p = answer(x, training=True)
            loss = bce(y, p)
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss, tf.reduce_mean(tf.cast((p > 0.5) == (y > 0.5), "float32"))

    def answer_to_fakes(z, training):
        return d_model(g_model(z, training=training), training=training)

    @tf.function
    def step(x_real, z_fake, z_gan):
        real, fake = tf.ones((half_batch, 1)), tf.zeros((half_batch, 1))
        d_loss_real, d_acc_real = learn(d_model, x_real, real, d_weights, d_optimizer)
        d_loss_fake, d_acc_fake = learn(d_model, g_model(z_fake, training=False), fake, d_weights, d_optimizer)
        g_loss, _ = learn(answer_to_fakes, z_gan, tf.ones((n_batch, 1)), g_weights, g_optimizer)
        return tf.stack([d_loss_real, d_loss_fake, g_loss, d_acc_real, d_acc_fake])

    def loop(tick):
        for _ in range(n_steps):
            x_real, _ = kg.generate_real_samples(images, half_batch)
            z_fake = kg.generate_latent_points(LATENT_DIM, half_batch)
            z_gan = kg.generate_latent_points(LATENT_DIM, n_batch)
            tick(step(x_real, z_fake, z_gan).numpy().tolist())

    return loop


def lecture_loop(g_model, d_model, images, n_batch):
    """(c) The lecture's lines, and the two flags without which its discriminator stands still on Keras 3."""
    return plain_loop(g_model, d_model, images, n_batch, g_model.predict)


def plain_loop(g_model, d_model, images, n_batch, predict=None):
    """(e) The same with `predict_on_batch`, as one writes it by hand."""
    gan_model = kg.define_gan(g_model, d_model)
    n_steps, half_batch = len(images) // n_batch, n_batch // 2
    predict = predict or g_model.predict_on_batch

    def loop(tick):
        for _ in range(n_steps):
            d_model.trainable = True
            x_real, y_real = kg.generate_real_samples(images, half_batch)
            d_loss_real, d_acc_real = d_model.train_on_batch(x_real, y_real)
            x_fake = predict(kg.generate_latent_points(LATENT_DIM, half_batch))
            d_loss_fake, d_acc_fake = d_model.train_on_batch(x_fake, np.zeros((half_batch, 1)))
            d_model.trainable = False
            x_gan = kg.generate_latent_points(LATENT_DIM, n_batch)
            g_loss = gan_model.train_on_batch(x_gan, np.ones((n_batch, 1)))
            tick([d_loss_real, d_loss_fake, g_loss, d_acc_real, d_acc_fake])

    return loop
