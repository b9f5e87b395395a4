"""The lecture's CycleGAN (Zhu et al. 2017): translate images between two domains, A and B, without a single pair.

Generator `g_model_AtoB` translates A to B and `g_model_BtoA` back; discriminators `d_model_A` and `d_model_B` tell real
images of their domain from translated ones. Each generator trains through a composite model, `c_model_AtoB` or
`c_model_BtoA`.
"""

import keras
import numpy as np

from .callbacks import LinearDecay
from .checks import (
    check_answers,
    check_generator_range,
    check_images,
    check_network,
    loss_of,
    noise_images,
    unwrapped,
)
from .gan import generate_real_samples
from .loop import loop, train_only


class ImagePool:
    """Translated images of earlier steps, for a discriminator to learn from beside new ones (Shrivastava et al. 2017).

    Args:
        size: how many images the list `images` holds at most; with 0 there is no pool.
    """

    def __init__(self, size=50):
        self.size = size
        self.images = []

    def update(self, images):
        """Offer new images `(n, height, width, channels)`; returns as many to train on.

        While the pool fills up, each image goes in and comes out. Later a fair coin decides for each: the image comes
        out and is not kept, or it takes the place of a random pooled one, which comes out.
        """
        selected = []
        for image in images:
            if len(self.images) < self.size:
                self.images.append(image.copy())  # a view would keep the whole batch in memory
                selected.append(image)
            elif not self.images or np.random.random() < 0.5:
                selected.append(image)
            else:
                ix = np.random.randint(len(self.images))
                selected.append(self.images[ix])
                self.images[ix] = image.copy()
        return np.stack(selected)

    def get_state(self):
        """The pool as a dict of arrays, which `set_state` takes; `SaveRun` keeps it."""
        return {"size": np.array(self.size), "images": np.array(self.images)}

    def set_state(self, state):
        """Become the pool that `get_state` was called of."""
        self.size, self.images = int(state["size"]), list(state["images"])


def define_composite_model(g_model_1, d_model, g_model_2, image_shape, loss_weights=(1, 5, 10, 10)):
    """Stack the networks into the composite model that trains one generator, `g_model_1`.

    Inputs: images `x_1` of domain 1 and `x_2` of domain 2. Outputs, by name, with the lecture's losses; where the
    discriminator was compiled with another one than mean squared error, the adversarial loss is that one too:

        adversarial      d_model(g_model_1(x_1))      should be 1      mean squared error
        identity         g_model_1(x_2)               should be x_2    mean absolute error
        forward_cycle    g_model_2(g_model_1(x_1))    should be x_1    mean absolute error
        backward_cycle   g_model_1(g_model_2(x_2))    should be x_2    mean absolute error

    The other two networks are frozen here as in the lecture. Keras 3 reads that flag when a step runs, not when a model
    is compiled, and the second composite undoes the flags of the first: whoever trains must set them before each step.

    Args:
        g_model_1, g_model_2: the generator from domain 1 to domain 2, which learns, and the one back. Not compiled.
        d_model: the discriminator of domain 2: images to a map of answers, one a patch.
        image_shape: `(height, width, channels)`.
        loss_weights: of the four losses, in that order; 0 takes one away.

    Returns:
        The compiled composite model. It carries the `ImagePool` of what `g_model_1` makes as `.pool`, and as
        `.made_from` a function that returns the three networks.

    Raises:
        ValueError: where the inputs of a network are not known.
    """
    for name, network in (("g_model_1", g_model_1), ("d_model", d_model), ("g_model_2", g_model_2)):
        check_network(network, name)
    g_model_1.trainable, d_model.trainable, g_model_2.trainable = True, False, False
    input_gen, input_id = keras.Input(image_shape), keras.Input(image_shape)
    gen1_out = g_model_1(input_gen)
    outputs = {
        "adversarial": d_model(gen1_out),
        "identity": g_model_1(input_id),
        "forward_cycle": g_model_2(gen1_out),
        "backward_cycle": g_model_1(g_model_2(input_id)),
    }
    # Two outputs come from g_model_1: without layers of their own they would share its name and one reported loss.
    outputs = {name: keras.layers.Identity(name=name)(output) for name, output in outputs.items()}
    model = keras.Model([input_gen, input_id], outputs, name=f"composite_{g_model_1.name}")
    model.compile(
        loss=dict(zip(outputs, (loss_of(d_model) or "mse", "mae", "mae", "mae"), strict=True)),
        loss_weights=dict(zip(outputs, loss_weights, strict=True)),
        optimizer=keras.optimizers.Adam(learning_rate=2e-4, beta_1=0.5),
    )
    model.pool = ImagePool()
    model.made_from = lambda: (g_model_1, d_model, g_model_2)  # as an attribute each would count as a layer of its own
    return model


def train_cyclegan(
    d_model_A,
    d_model_B,
    g_model_AtoB,
    g_model_BtoA,
    c_model_AtoB,
    c_model_BtoA,
    dataset,
    n_epochs=200,
    n_batch=1,
    callbacks=(),
    initial_epoch=0,
    verbose="auto",
):
    """Train both generators and both discriminators in turns.

    The learning rates that the models were compiled with hold for the first half of the epochs and then fall on a line
    that reaches 0 at `n_epochs`.

    Args:
        d_model_A, d_model_B, g_model_AtoB, g_model_BtoA: the compiled discriminators and the generators.
        c_model_AtoB, c_model_BtoA: `define_composite_model(g_model_AtoB, d_model_B, g_model_BtoA, image_shape)`, and
            the same with A and B exchanged.
        dataset: `(train_a, train_b)`, images `(n, height, width, channels)`: uint8, scaled batch by batch, or floats in
            [-1, 1]. An epoch is as many steps as `train_a` has batches; images are drawn with replacement.
        n_epochs: the epoch to stop after, counted from 0. To go on with a run, give the same number again.
        n_batch: images of each domain in a step.
        callbacks, initial_epoch, verbose: as in `loop`. The callbacks' `model` is `c_model_AtoB`.

    Returns:
        A `keras.callbacks.History` with the means of each epoch: `g_AtoB_adversarial`, `g_AtoB_identity`,
        `g_AtoB_forward_cycle`, `g_AtoB_backward_cycle` and their weighted sum `g_AtoB_loss`; `d_B_loss_real`,
        `d_B_loss_fake`; and the same with A and B exchanged.

    Raises:
        ValueError: before the first step, where models and data do not fit together.
    """
    networks = d_model_A, d_model_B, g_model_AtoB, g_model_BtoA
    check_cyclegan(*networks, c_model_AtoB, c_model_BtoA, dataset, n_batch)
    train_a, train_b = dataset
    y_real = np.ones(d_model_A.compute_output_shape((n_batch, *train_a.shape[1:])), "float32")  # a label a patch
    y_fake = np.zeros_like(y_real)
    # The pools lie beside Adam's state in the composite models, because a run that goes on needs both.
    pool_A, pool_B = c_model_BtoA.pool, c_model_AtoB.pool

    def step():
        x_A, x_B = (generate_real_samples(images, n_batch)[0].astype("float32") for images in (train_a, train_b))
        x_fake_A = pool_A.update(g_model_BtoA.predict_on_batch(x_B))
        x_fake_B = pool_B.update(g_model_AtoB.predict_on_batch(x_A))

        # Generator B to A learns by its four losses, then discriminator A from real images and from its pool.
        wanted = {"adversarial": y_real, "identity": x_A, "forward_cycle": x_B, "backward_cycle": x_A}
        g_BtoA = train_only(g_model_BtoA, networks, c_model_BtoA, [x_B, x_A], wanted)
        real_A = train_only(d_model_A, networks, d_model_A, x_A, y_real)
        fake_A = train_only(d_model_A, networks, d_model_A, x_fake_A, y_fake)

        # The same in the other direction.
        wanted = {"adversarial": y_real, "identity": x_B, "forward_cycle": x_A, "backward_cycle": x_B}
        g_AtoB = train_only(g_model_AtoB, networks, c_model_AtoB, [x_A, x_B], wanted)
        real_B = train_only(d_model_B, networks, d_model_B, x_B, y_real)
        fake_B = train_only(d_model_B, networks, d_model_B, x_fake_B, y_fake)

        logs = {"g_AtoB_loss": g_AtoB.pop("loss"), "g_BtoA_loss": g_BtoA.pop("loss")}
        logs |= {f"g_AtoB_{name.removesuffix('_loss')}": value for name, value in g_AtoB.items()}
        logs |= {f"g_BtoA_{name.removesuffix('_loss')}": value for name, value in g_BtoA.items()}
        logs |= {"d_A_loss_real": real_A["loss"], "d_A_loss_fake": fake_A["loss"]}
        return logs | {"d_B_loss_real": real_B["loss"], "d_B_loss_fake": fake_B["loss"]}

    decay = LinearDecay([model.optimizer for model in (d_model_A, d_model_B, c_model_AtoB, c_model_BtoA)])
    callbacks = [decay, *keras.tree.flatten(callbacks or ())]
    return loop(step, c_model_AtoB, networks, n_epochs, len(train_a) // n_batch, callbacks, initial_epoch, verbose)


def check_cyclegan(d_model_A, d_model_B, g_model_AtoB, g_model_BtoA, c_model_AtoB, c_model_BtoA, dataset, n_batch):
    """Raise ValueError unless the six models, the data set and the batch size fit together."""
    if not isinstance(dataset, (tuple, list)) or len(dataset) != 2 or isinstance(dataset[0], (tuple, list)):
        raise ValueError(
            "The data set must be (train_a, train_b), two NumPy arrays of images: the first pair of what load_domains "
            "returns."
        )
    for a, b, c_model, g_model_1, d_model, g_model_2, images in (
        ("A", "B", c_model_AtoB, g_model_AtoB, d_model_B, g_model_BtoA, dataset[0]),
        ("B", "A", c_model_BtoA, g_model_BtoA, d_model_A, g_model_AtoB, dataset[1]),
    ):
        if not d_model.compiled:
            raise ValueError(f'd_model_{b} was never compiled: call d_model_{b}.compile(loss="mse", ...) first.')
        check_network(d_model, f"d_model_{b}")
        check_network(g_model_1, f"g_model_{a}to{b}")
        made_from = getattr(c_model, "made_from", lambda: ())()
        networks = (g_model_1, d_model, g_model_2)
        if [id(network) for network in made_from] != [id(network) for network in networks]:
            raise ValueError(
                f"c_model_{a}to{b} was not made from the models given: run c_model_{a}to{b} = define_composite_model("
                f"g_model_{a}to{b}, d_model_{b}, g_model_{b}to{a}, image_shape) again."
            )
        check_images(f"train_{a.lower()}", images, c_model.inputs[0].shape[1:], n_batch)
        for name, model in ((f"d_model_{b}", d_model), (f"c_model_{a}to{b}", c_model)):
            if not isinstance(unwrapped(model.optimizer).learning_rate, keras.Variable):
                raise ValueError(
                    f"{name} learns at a rate with a schedule, but here the loop lets the rates fall: give its "
                    "optimizer a number, learning_rate=0.0002."
                )
    if dataset[0].shape[1:] != dataset[1].shape[1:]:  # possible where the networks take any size
        raise ValueError(
            f"Images of A and B must be of one size; given: {dataset[0].shape[1:]} and {dataset[1].shape[1:]}."
        )
    answers = [d_model.compute_output_shape((1, *dataset[0].shape[1:])) for d_model in (d_model_A, d_model_B)]
    if answers[0] != answers[1]:
        raise ValueError(f"Both discriminators must answer in one shape; given: {answers[0]} and {answers[1]}.")
    noise = [noise_images(dataset[0].shape[1:], 1)]
    for name, d_model in (("d_model_A", d_model_A), ("d_model_B", d_model_B)):
        check_answers(name, d_model, noise)
    for name, g_model in (("g_model_AtoB", g_model_AtoB), ("g_model_BtoA", g_model_BtoA)):
        check_generator_range(name, g_model, noise)
