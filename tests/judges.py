"""Images of classes that are easy to tell, and a judge of them: what the tests of judges and of scores share."""

import numpy as np
import pytest

from keras_gen import judge as judging
from keras_gen import train_judge


def quadrants(n, seed):
    """Noise with one bright quadrant: class 0 to 3 is which one, (n, 12, 12, 1)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 4
    images = rng.integers(0, 80, (n, 2, 6, 2, 6, 1), np.uint8)
    images[np.arange(n), labels // 2, :, labels % 2] += 150
    return images.reshape(n, 12, 12, 1), labels


def colours(n, seed):
    """Noise with one bright channel: class 0 to 2 is which one, (n, 8, 8, 3)."""
    labels = np.arange(n) % 3
    images = np.random.default_rng(seed).integers(0, 80, (n, 8, 8, 3), np.uint8)
    images[np.arange(n), :, :, labels] += 150
    return images, labels


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """Judges of the tests are kept in a folder of their own."""
    folder = tmp_path_factory.mktemp("judges")
    cache_file = judging._cache_file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "_cache_file", lambda *key: folder / cache_file(*key).name)
        yield folder


@pytest.fixture(scope="module")
def data():
    return quadrants(640, seed=0), quadrants(200, seed=1)


@pytest.fixture(scope="module")
def judge(data, cache):
    return train_judge(data, epochs=8)
