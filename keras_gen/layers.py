"""Layers that notebooks share."""

import keras
from keras import ops

from .gradients import gradient


class GradientPenalty(keras.layers.Layer):
    """[real, fake] -> the same; adds the gradient penalty of a critic to the loss (Gulrajani et al. 2017, WGAN-GP).

        real, fake = keras.Input(shape), keras.Input(shape)
        scores = [critic(images) for images in GradientPenalty(critic)([real, fake])]
        critic_and_penalty = keras.Model([real, fake], scores)

    The critic's slope dD/dx, at a random place between each real image and its fake, should have the length 1: the loss
    is `weight` times the mean of (length - 1)^2 over the batch, counted in float32 whatever the critic computes in. The
    model that holds this layer cannot be saved: the critic can, and the model is built anew around it, as a GAN's
    composite is.

    Args:
        critic: a built model, images `(n, height, width, channels)` to scores `(n, 1)`. It is called with
            `training=False` for the penalty.
        weight: of the penalty; the paper's is 10.
    """

    def __init__(self, critic, weight=10.0, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)  # in float16 the squares of small slopes are 0
        self.critic, self.weight = critic, weight
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, inputs):
        real, fake = inputs
        sides = real.shape[1:]
        t = keras.random.uniform((ops.shape(real)[0], *[1] * len(sides)), seed=self.seed_generator)
        slopes = gradient(lambda x: self.critic(x, training=False), t * real + (1 - t) * fake)
        squares = ops.sum(ops.square(slopes), axis=tuple(range(1, len(sides) + 1)))
        length = ops.sqrt(squares + 1e-12)  # the root's own slope is infinite at 0
        self.add_loss(self.weight * ops.mean(ops.square(length - 1)))
        return [real, fake]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        raise NotImplementedError(
            "A model with GradientPenalty cannot be saved: it would be loaded with two critics. Save the critic, and "
            "build the model around it anew; SaveRun keeps a training."
        )
