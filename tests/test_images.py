"""The ranges of images: each of the 256 levels there and back, and what would be shown or scored wrongly is refused."""

import tracemalloc

import keras
import ml_dtypes
import numpy as np
import pytest

from keras_gen.images import checked_images, generated_to_uint8, to_numpy, to_tanh, to_uint8, to_unit

LEVELS = np.arange(256, dtype=np.uint8)
FUNCTIONS = [to_tanh, to_unit, to_uint8]


def peak_memory(function, *args):
    """The most bytes that a call holds at once, beside its arguments."""
    tracemalloc.start()
    function(*args)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


# ---- from one range to another


def test_every_level_to_floats():
    exact = np.arange(256) / 255
    for images, wanted in ((to_tanh(LEVELS), 2 * exact - 1), (to_unit(LEVELS), exact)):
        assert images.dtype == np.float32
        np.testing.assert_allclose(images, wanted, rtol=0, atol=1e-7)
        assert images.min() == wanted[0] and images.max() == 1


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_every_level_there_and_back(dtype):
    np.testing.assert_array_equal(to_uint8(to_tanh(LEVELS).astype(dtype)), LEVELS)
    np.testing.assert_array_equal(to_uint8(to_unit(LEVELS).astype(dtype), (0, 1)), LEVELS)
    np.testing.assert_array_equal(to_uint8(LEVELS.astype(dtype), (0, 255)), LEVELS)


def test_every_level_between_the_ranges_of_floats():
    tanh, unit = to_tanh(LEVELS), to_unit(LEVELS)
    np.testing.assert_array_equal(to_uint8(to_unit(tanh), (0, 1)), LEVELS)
    np.testing.assert_array_equal(to_uint8(to_tanh(unit, (0, 1))), LEVELS)
    np.testing.assert_allclose(to_unit(tanh), unit, rtol=0, atol=1e-7)
    np.testing.assert_allclose(to_tanh(unit, (0, 1)), tanh, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(to_tanh(tanh), tanh)  # in its range already
    np.testing.assert_array_equal(to_unit(unit, (0, 1)), unit)


@pytest.mark.parametrize("value_range", [(0, 255), (-3, 5), [0, 1]])
def test_value_range(value_range):
    low, high = value_range
    images = low + np.array([0, 0.25, 0.5, 1]) * (high - low)
    np.testing.assert_allclose(to_tanh(images, value_range), [-1, -0.5, 0, 1], atol=1e-6)
    np.testing.assert_allclose(to_unit(images, value_range), [0, 0.25, 0.5, 1], atol=1e-6)
    assert to_uint8(images, value_range).tolist() == [0, 64, 128, 255]
    checked, found = checked_images(images, value_range)
    assert checked is images and tuple(found) == (low, high)


def test_to_uint8_rounds_and_does_not_cut_off():
    assert to_uint8(np.array([-1, -0.999, 0.003, 0.999])).tolist() == [0, 0, 128, 255]
    assert to_uint8(np.array([0.4, 0.6, 254.4, 254.6]), (0, 255)).tolist() == [0, 1, 254, 255]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_overshoot_by_rounding_is_cut_off(dtype):
    images = np.array([-1.0005, -1, 0, 1, 1.0005]).astype(dtype)
    assert to_tanh(images).tolist() == [-1, -1, 0, 1, 1]
    assert to_unit(images).tolist() == [0, 0, 0.5, 1, 1]
    assert to_uint8(images).tolist() == [0, 0, 128, 255, 255]
    unit = np.array([-0.0004, 1.0004]).astype(dtype)  # the slack is that of the range: half as wide, half as much
    assert to_uint8(unit, (0, 1)).tolist() == [0, 255] and to_tanh(unit, (0, 1)).tolist() == [-1, 1]
    for images, value_range in (((-1.002, 0), None), ((0, 1.0011), (0, 1)), ((-0.0011, 1), (0, 1))):
        with pytest.raises(ValueError, match="must lie in"):
            checked_images(np.array(images, dtype), value_range)


# ---- kinds of input


def test_uint8_comes_back_unchanged():
    for value_range in (None, (0, 1), (-1, 1)):  # a range is of floats; uint8 has its own
        assert to_uint8(LEVELS, value_range) is LEVELS
        images, found = checked_images(LEVELS, value_range)
        assert images is LEVELS and found == (0, 255)
        np.testing.assert_array_equal(to_tanh(LEVELS, value_range), to_tanh(LEVELS))
    light = np.full((2, 2), 200, np.uint8)  # and no value is too light for it
    np.testing.assert_allclose(to_tanh(light), 200 / 127.5 - 1)


def test_checked_images_of_floats():
    images = np.array([[-0.5, 0.25]], np.float16)
    checked, value_range = checked_images(images)
    assert checked is images and value_range == (-1, 1)


@pytest.mark.every_backend
def test_tensors_and_lists():
    array = np.array([[-1, 0.5], [0, 1]], np.float32)
    tensor = keras.ops.convert_to_tensor(array)
    output = keras.Variable(array) * 1  # with a history of gradients on torch, as what g_model(z) gives
    for images in (tensor, output, array.tolist(), list(array), tuple(array), [tensor[0], tensor[1]], [*output]):
        result = to_numpy(images)
        assert isinstance(result, np.ndarray)
        np.testing.assert_array_equal(result, array)
    for function in FUNCTIONS:
        for dtype in ("float16", "bfloat16"):
            np.testing.assert_array_equal(function(keras.ops.cast(tensor, dtype)), function(array))
        np.testing.assert_array_equal(function(keras.ops.convert_to_tensor(LEVELS)), function(LEVELS))


@pytest.mark.parametrize("function, dtype", [(to_tanh, np.float32), (to_unit, np.float32), (to_uint8, np.uint8)])
def test_shapes_and_types(function, dtype):
    for given in (np.uint8, np.float16, np.float64):
        for shape in ((0, 4, 4, 3), (5,)):
            result = function(np.full(shape, 200 if given == np.uint8 else -0.5, given))
            assert result.shape == shape and result.dtype == dtype
        view = np.linspace(-1, 1, 24).reshape(2, 3, 4)[:, ::-1, ::2].transpose(2, 0, 1)
        view = (view * 100 + 100).astype(given) if given == np.uint8 else view.astype(given)
        np.testing.assert_array_equal(function(view), function(np.ascontiguousarray(view)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_input_is_never_changed_nor_shared(function):
    for images in (LEVELS, to_tanh(LEVELS), to_tanh(LEVELS).astype(np.float64)):
        given = images.copy()
        given.flags.writeable = False  # a write would raise
        result = function(given)
        np.testing.assert_array_equal(given, images)
        if result is not given:
            assert not np.shares_memory(result, given) and result.flags.writeable


def test_one_copy_in_memory():
    # CIFAR-10 in float32 is 600 MB.
    pixels = np.zeros((500, 32, 32, 3), np.uint8)
    floats = to_tanh(pixels)
    for function, images in ((to_tanh, pixels), (to_unit, pixels), (to_tanh, floats), (to_unit, floats)):
        assert peak_memory(function, images) < 1.1 * floats.nbytes
    assert peak_memory(to_uint8, floats) < 1.1 * (floats.nbytes + pixels.nbytes)
    assert peak_memory(to_uint8, pixels) < 0.1 * pixels.nbytes
    assert peak_memory(checked_images, floats) < 0.1 * floats.nbytes


# ---- what is refused


@pytest.mark.parametrize("value", [-1.01, 1.01, np.nan, np.inf, -np.inf])
def test_other_ranges_are_refused(value):
    for dtype in (np.float16, np.float64):
        with pytest.raises(ValueError, match=r"images must lie in \[-1, 1\]; they run from"):
            checked_images(np.array([-0.5, value, 0.0], dtype))
        with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]; they run from"):
            checked_images(np.array([0.5, value, 0.0], dtype), (0, 1))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_checks_its_images(function):
    with pytest.raises(ValueError, match="no value below 0"):
        function(to_unit(LEVELS))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        function(LEVELS.astype(float), (0, 1))


def test_floats_that_may_be_in_another_range_are_refused():
    rounded = np.array([-1e-4, 0.5, 1])  # the rounding of a [0, 1] image is no value below 0
    for images in (np.zeros(3), np.ones(3, np.float16), [0.0, 1.0], np.array([-0.0, 1]), rounded):
        with pytest.raises(ValueError, match="The images have no value below 0"):
            checked_images(images)
        checked_images(images, (-1, 1))
        checked_images(images, (0, 1))


def test_the_ways_that_the_refusal_names_are_right():
    unit, light = to_unit(LEVELS), np.array([0, 0.5, 1])
    with pytest.raises(ValueError, match=r"to_uint8\(images, \(0, 1\)\) or images \* 2 - 1; .*\(images, \(-1, 1\)\)"):
        to_uint8(unit)
    np.testing.assert_array_equal(to_uint8(unit, (0, 1)), LEVELS)
    np.testing.assert_array_equal(to_uint8(unit * 2 - 1), LEVELS)
    assert to_uint8(light, (-1, 1)).tolist() == [128, 191, 255]


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint16", "bool", "complex64", "object", "U1"])
def test_other_kinds_of_numbers_are_refused(dtype):
    array = np.array([0, 1]).astype(dtype)
    said = rf"^The images are {array.dtype}; wanted are uint8, or floats in \[0, 1\]"
    for images in (array, array[:0]):
        with pytest.raises(ValueError, match=said):
            checked_images(images, (0, 1))


def test_lists_and_tensors_of_whole_numbers_are_refused():
    for images in ([[0, 255]], keras.ops.convert_to_tensor([0, 1])):
        with pytest.raises(ValueError, match=r"^The images are int\d\d; wanted.* floats in \[-1, 1\]"):
            checked_images(images)


def test_whole_numbers_get_a_way_out():
    pixels = np.arange(256)
    with pytest.raises(ValueError, match=r'They run from 0 to 255: np.asarray\(images, "uint8"\)'):
        to_uint8(pixels)
    np.testing.assert_array_equal(to_uint8(np.asarray(pixels, "uint8")), LEVELS)
    deep = (pixels * 257).astype("uint16")
    said = r"They run from 0 to 65535: to_uint8\(np.asarray\(images, 'float32'\), \(black, white\)\).*\(0, 65535\)"
    with pytest.raises(ValueError, match=said):
        to_uint8(deep)
    np.testing.assert_array_equal(to_uint8(np.asarray(deep, "float32"), (0, 65535)), LEVELS)
    for few in (np.array([0, 1]), np.array([-3, 7]), np.array([True])):
        with pytest.raises(ValueError, match=r"They run from .*\(black, white\)"):
            to_uint8(few)


@pytest.mark.every_backend
def test_what_is_no_array_gets_a_way_to_one():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return np.zeros((4, 2, 2, 1), np.uint8)

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for thing, way in (
        (Batches(), "np.concatenate"),
        ((np.zeros((4, 2)) for _ in range(2)), "np.concatenate"),
        (model, "predict"),
        ("pets", "load_image_folder"),
        ({"x": np.zeros(3)}, "its keys are x"),
        (None, "Wanted is an array"),
    ):
        with pytest.raises(ValueError, match=way):
            to_numpy(thing)
    assert np.concatenate(list(Batches())).shape == (8, 2, 2, 1)  # as the sentence says
    sizes = [np.zeros((2, 2, 1)), np.zeros((3, 3, 1))]
    for images in (sizes, [keras.ops.convert_to_tensor(image) for image in sizes], [[1, 2], [3]]):
        with pytest.raises(ValueError, match="of one size"):
            to_numpy(images)


# ---- what a generator makes, where it is scored


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_generator_that_has_turned_white_is_no_mistake(dtype):
    rng = np.random.default_rng(0)
    white, grey = rng.uniform(0.5, 1, (4, 3, 3, 1)), np.zeros((4, 3, 3, 1))
    few = np.where(np.arange(1000) < 9, 0.1, 0.9)  # a spot here and there
    for images in (white, grey, np.ones(5), few):
        images = keras.ops.cast(images, dtype)
        with pytest.warns(UserWarning, match=r"light ones in \[-1, 1\]. If they lie in \[0, 1\]"):
            pixels = generated_to_uint8(images)
        np.testing.assert_array_equal(pixels, to_uint8(images, (-1, 1)))


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float64])
def test_what_lies_in_0_to_1_is_refused_in_scores_too(dtype):
    few = np.where(np.arange(1000) < 10, 0.2, 0.9)
    for images in (to_unit(LEVELS), np.array([0, 0.1]), few, np.array([-1e-4, 0, 1])):
        with pytest.raises(ValueError, match="no value below 0"):
            generated_to_uint8(images.astype(dtype))


@pytest.mark.filterwarnings("error")
def test_in_scores_all_other_images_count_as_elsewhere():
    assert generated_to_uint8(LEVELS) is LEVELS
    for images in (to_tanh(LEVELS), np.zeros((0, 2), np.float32), np.array([-0.1, 1])):
        np.testing.assert_array_equal(generated_to_uint8(images), to_uint8(images))
    for images in (np.array([-2.0, 0]), np.array([np.nan, 1]), np.arange(3)):
        with pytest.raises(ValueError, match=r"\[-1, 1\]"):
            generated_to_uint8(images)


def test_what_opens_the_sentence():
    for images in (np.array([2.0]), np.array([0.5]), np.array([1])):
        with pytest.raises(ValueError, match=r"^x_test (are|must|have) "):
            checked_images(images, what="x_test")
