"""The drawn faces: same bytes everywhere, every attribute where it belongs, errors that help."""

import hashlib

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from keras_gen.data import FACE_CLASSES, draw_faces, face_classes, sample_face_attributes

NAMES = "man smile glasses hair_length hair_color parting age skin pose shirt background".split()


def changed(size=64, **attribute):
    """Which pixels differ between two faces that differ in one attribute: bool (size, size)."""
    first, second = draw_faces(attribute, size)
    return (first != second).any(axis=-1)


def test_same_bytes_on_every_machine():
    # Checked with NumPy 1.26 and 2.4, with and without AVX2 and AVX-512. A change here changes everyone's data set.
    images = draw_faces(sample_face_attributes(64, seed=1))
    assert (
        hashlib.sha256(images.tobytes()).hexdigest()
        == "ef63be83313375b1355e7a1ff711977b371f368070fdffb0e62dea331f980c8d"
    )


@pytest.mark.parametrize("size", [8, 32, 45, 128])
def test_shape_and_type(size):
    images = draw_faces(sample_face_attributes(3), size)
    assert images.shape == (3, size, size, 3)
    assert images.dtype == np.uint8


def test_a_face_does_not_depend_on_its_neighbours():
    attributes = sample_face_attributes(70)  # more than one chunk
    alone = draw_faces({name: values[66:67] for name, values in attributes.items()})
    np.testing.assert_array_equal(draw_faces(attributes)[66:67], alone)
    for name, values in sample_face_attributes(10).items():
        np.testing.assert_array_equal(values, attributes[name][:10])
    assert draw_faces(sample_face_attributes(0)).shape == (0, 32, 32, 3)


def test_attributes_are_balanced_and_independent():
    attributes = sample_face_attributes(10_000, seed=3)
    assert list(attributes) == NAMES
    assert all(values.shape == (10_000,) for values in attributes.values())
    independent = np.stack([attributes[name] for name in NAMES if name != "hair_length"])
    correlation = np.corrcoef(independent) - np.eye(10)
    assert np.abs(correlation).max() < 0.05  # five standard errors
    counts = np.bincount(face_classes(attributes), minlength=16)
    assert counts.min() > 500
    assert counts.sum() == 10_000
    smile, age, man, length = (attributes[name] for name in ("smile", "age", "man", "hair_length"))
    assert np.all(((smile >= -1) & (smile <= -0.2)) | ((smile >= 0.4) & (smile <= 1)))
    assert np.all((age <= 0.35) | (age >= 0.65))
    assert length[man == 1].max() <= 0.3 < 0.5 <= length[man == 0].min()
    assert set(np.unique(attributes["glasses"])) == set(np.unique(man)) == {0, 1}


def test_classes_have_the_right_names():
    labels = face_classes(
        {"smile": [1, -1, 1, -1], "glasses": [0, 1, 1, 0], "man": [0, 0, 1, 1], "age": [0, 1, 0.2, 1]}
    )
    assert labels.dtype == np.int64
    assert labels.tolist() == [1, 10, 7, 12]
    for name, values, bit in (("glasses", [0.5, 0.501], 2), ("man", [0.5, 0.501], 4), ("age", [0.5, 0.501], 8)):
        assert face_classes({"smile": 0, name: values}).tolist() == [0, bit]  # where each begins
    assert len(set(FACE_CLASSES)) == 16
    assert [FACE_CLASSES[label] for label in labels] == [
        "young woman, smiling",
        "old woman, neutral, glasses",
        "young man, smiling, glasses",
        "old man, neutral",
    ]


def test_a_linear_classifier_reads_the_labels_at_32_pixels():
    def pixels_and_signs(n, seed):
        faces = sample_face_attributes(n, seed)
        labels = face_classes(faces)[:, None] // [1, 2, 4, 8] % 2  # smiling, glasses, man, old
        return draw_faces(faces).reshape(n, -1) / np.float32(255), labels * 2 - 1

    x_test, y_test = pixels_and_signs(300, seed=5)
    predicted = np.sign(Ridge(10).fit(*pixels_and_signs(800, seed=4)).predict(x_test))
    assert np.all((predicted == y_test).mean(axis=0) > 0.95)


def test_smile_changes_mouth_and_cheeks_only():
    mask = changed(smile=[-1, 1])
    assert mask[36:48, 24:40].mean() > 0.5
    mask[30:52, 12:52] = False
    assert not mask.any()


def test_glasses_change_the_eye_band_only():
    mask = changed(glasses=[0, 1])
    assert mask[26:34, 18:46].mean() > 0.5
    mask[22:38] = False
    assert not mask.any()


def test_shirt_changes_the_bottom_only():
    mask = changed(shirt=[0, 1])
    assert mask[-4:, 24:40].all()
    assert not mask[:48].any()


def test_background_leaves_the_face_alone():
    mask = changed(background=[0, 1])
    assert mask[:2].all()
    assert not mask[20:44, 24:40].any()


def test_hair_color_and_parting_leave_the_lower_face_alone():
    for attribute in ({"hair_color": [0, 1]}, {"parting": [-1, 1]}):
        mask = changed(**attribute)
        assert mask[5:16].any()
        assert not mask[30:46, 26:38].any()


def test_hair_length_grows_downwards():
    mask = changed(hair_length=[0, 1])
    assert mask[32:54, [13, 50]].all()
    assert not mask[24:46, 24:40].any()


def test_age_turns_hair_grey():
    young, old = draw_faces({"age": [0, 1], "hair_color": 0.7}, 64)[:, 4:9, 28:36].astype(float)
    for hair, low, high in ((young, 40, 255), (old, 0, 20)):
        saturation = (hair.max(axis=-1) - hair.min(axis=-1)).mean()
        assert low <= saturation <= high


def test_skin_darkens():
    cheeks = draw_faces({"skin": np.linspace(0, 1, 6)}, 64)[:, 34:37, 22:26].mean(axis=(1, 2, 3))
    assert np.all(np.diff(cheeks) < -5)


def test_turning_the_head_mirrors_the_picture():
    faces = sample_face_attributes(20)
    mirrored = faces | {"pose": -faces["pose"], "parting": -faces["parting"]}
    np.testing.assert_array_equal(draw_faces(faces)[:, :, ::-1], draw_faces(mirrored))
    # The irises, the darkest pixels at the height of the eyes, move with the head.
    irises = draw_faces({"pose": [-1, 0, 1], "hair_length": 0}, 64)[:, 29:31].max(axis=(1, 3)) < 100
    left, middle, right = (np.flatnonzero(columns).mean() for columns in irises)
    assert left < middle - 3 < middle + 3 < right


def test_edges_are_smooth():
    # The left edge of a black-haired head, one crossing a row. Where the edge falls within a pixel, the pixel takes a
    # colour between hair and background; without blending there would be none.
    edge = draw_faces({"hair_color": 0, "hair_length": 0, "background": 0.5}, 64)[0, 9:22, :18, 0].astype(int)
    between = (edge > edge.min() + 20) & (edge < edge.max() - 20)
    assert between.any(axis=1).mean() > 0.6
    assert between.sum(axis=1).max() <= 2  # and the edge is still sharp


@pytest.mark.parametrize("times", [2, 4])
def test_larger_pictures_show_the_same_face(times):
    faces = sample_face_attributes(20)
    small, large = draw_faces(faces), draw_faces(faces, 32 * times)
    pooled = large.reshape(20, 32, times, 32, times, 3).mean(axis=(2, 4))
    assert np.abs(pooled - small).mean() < 2  # grey levels


def test_defaults_and_single_numbers():
    sweep = draw_faces({"smile": np.linspace(-1, 1, 9), "man": 1})
    assert len(np.unique(sweep.reshape(9, -1), axis=0)) == 9
    assert draw_faces({}).shape == (1, 32, 32, 3)
    np.testing.assert_array_equal(draw_faces({}), draw_faces({"man": 0, "smile": 0, "hair_length": 0.75}))
    assert changed(man=[0, 1])[32:54, [13, 50]].all()  # short hair by default


@pytest.mark.parametrize(
    "attributes, size, message",
    [
        ({"smiel": 1}, 32, "no attribute 'smiel'; they have man, smile"),
        ({"smile": [0, 1.5]}, 32, "smile must lie between -1 and 1; it runs from 0.0 to 1.5"),
        ({"age": -0.1}, 32, "age must lie between 0 and 1"),
        ({"pose": np.nan}, 32, "pose must lie between -1 and 1"),
        ({"smile": [0, 1], "age": [0, 1, 1]}, 32, r"different lengths \(smile 2, age 3\)"),
        ({"skin": np.zeros((2, 3))}, 32, r"skin has shape \(2, 3\)"),
        ({"smile": 0}, 4, "size is 4"),
        ({"smile": 0}, 32.5, "size is 32.5"),
    ],
)
def test_errors(attributes, size, message):
    with pytest.raises(ValueError, match=message):
        draw_faces(attributes, size)


def test_face_classes_checks_too():
    with pytest.raises(ValueError, match="smile must lie"):
        face_classes({"smile": 2})
