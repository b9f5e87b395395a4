"""What several trainings share: keeping a generator, its distance, its scores."""

from pathlib import Path

import numpy as np

import keras_gen as kg
from keras_gen import pretrained
from keras_gen.files import CHECKOUT

# In the repository, from wherever the training is started; else where that is.
RUNS = (CHECKOUT or Path.cwd()) / "runs"


def keep(name, define_generator, weights):
    """Write a generator with these weights into data/pretrained/, and return it.

    It is float32, whatever the policy of the training is.
    """
    with pretrained.plain_keras():
        generator = define_generator()
    generator.set_weights(weights)
    pretrained.save_pretrained(generator, pretrained.FOLDER / f"{name}.npz")
    return generator


def print_distance(epoch, judge, samples, x_test):
    """Say after an epoch how far the samples are from the test images."""
    distance = kg.feature_distance(judge, samples, real=x_test)
    n = len(x_test)
    print(
        f"epoch {epoch + 1}: feature distance to {n:,} test images {distance:.1f}",
        flush=True,
    )


def print_scores(judge, samples, x_train, y_train, x_test):
    """Score samples by the judge, beside equally many real training images."""
    distance = kg.feature_distance(judge, samples, real=x_test)
    print(f"feature distance to the test images {distance:.1f}")

    distance = kg.feature_distance(judge, x_train[: len(x_test)], real=x_test)
    print(f"real training images, equally many: {distance:.1f}")

    coverage = kg.mode_coverage(judge, samples, real_labels=y_train)
    classes, there_are, kl = coverage["classes"], coverage["of"], coverage["kl"]
    print(f"classes {classes} of {there_are}, KL {kl:.3f} nats")

    features = kg.judge_features(judge, samples)
    real = kg.judge_features(judge, x_test)
    precision, recall = kg.precision_recall(features, real=real)
    sure = kg.confident_share(judge, samples)
    sure_real = kg.confident_share(judge, x_test)
    print(f"precision {precision:.2f}, recall {recall:.2f};", end=" ")
    print(f"sure of {sure:.0%}, of the test images {sure_real:.0%}")

    ratio = kg.memorisation_ratio(samples, train=x_train, held_out=x_test)
    print(f"memorisation ratio {ratio:.2f}")


def draw_aside(latent_dim, n_samples, n_classes=None):
    """Latent points for a look; the training's own random numbers stay as they are."""
    state = np.random.get_state()
    points = kg.generate_latent_points(latent_dim, n_samples, n_classes)
    np.random.set_state(state)
    return points
