"""The one place that names backends: the gradient of a function, which Keras 3 has no operation for."""

import keras
from keras import ops


def gradient(function, xs):
    """The gradient of a function at `xs`, on TensorFlow, JAX and PyTorch alike.

    It can be differentiated again: within a loss for a gradient penalty, or nested for an unrolled step.

    Args:
        function: takes `xs` and returns a tensor, built with `keras.ops` and models only. Where that is not a scalar,
            its sum is what the gradient is of: for a score an image, `(n, 1)`, the gradient of each image's own score.
            A model in it is called with `training=False`, for no random state may change in here.
        xs: a float tensor or `keras.Variable`, or a list or tuple of several.

    Returns:
        A tensor of the shape of `xs`, or a list of them. 0 where the function does not depend on it.
    """
    several = isinstance(xs, (list, tuple))
    values = [x.value if isinstance(x, keras.Variable) else x for x in (xs if several else [xs])]
    tensors = [ops.convert_to_tensor(value) for value in values]

    def total(tensors):
        return ops.sum(function(list(tensors) if several else tensors[0]))

    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = total(tensors)
        slopes = tape.gradient(value, tensors, unconnected_gradients="zero")
    elif backend == "jax":
        import jax

        slopes = jax.grad(total)(tensors)
    else:
        import torch

        with torch.enable_grad():
            # What is part of a graph already stays so, for a gradient of this gradient.
            tensors = [x if x.requires_grad else x.detach().requires_grad_() for x in tensors]
            slopes = torch.autograd.grad(total(tensors), tensors, create_graph=True, materialize_grads=True)
    return list(slopes) if several else slopes[0]
