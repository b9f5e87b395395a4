"""One's own images: as one array, or in a folder for each class; nothing is lost without a word."""

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_gen.data import load_image_folder

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(folder, name, color):
    """An image of one colour, 4x4 pixels, in a format that keeps it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), color).save(path)


# ---- images directly in the folder


def test_image_folder(tmp_path):
    def save(name, image, **options):
        image.save(tmp_path / name, **options)

    def two_halves(mode, left, right):
        image = Image.new(mode, (4, 4), left)
        image.paste(right, (2, 0, 4, 4))
        return image

    wide = Image.new("RGB", (12, 4), "red")
    wide.paste((0, 255, 0), (4, 0, 8, 4))  # the central square is green
    save("a_wide.png", wide)
    save("b_grey.bmp", Image.new("L", (4, 4), 77))
    save("c_clear.png", two_halves("RGBA", (255, 0, 0, 0), (0, 0, 255, 255)))
    turned = two_halves("RGB", (255, 255, 255), (0, 0, 0)).resize((64, 64), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held upright: turn by 90 degrees clockwise to see it right
    save("d_turned.JPG", turned, exif=exif, quality=95)
    save("e_deep.png", Image.fromarray(np.full((4, 4), 51400, np.uint16)))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    save("f_palette.gif", palette, transparency=0)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._a_wide.png").write_text("left by macOS")
    (tmp_path / "folder.png").mkdir()

    images = load_image_folder(str(tmp_path), 4)
    assert images.dtype == np.uint8 and images.shape == (6, 4, 4, 3)
    assert (images[0] == [0, 255, 0]).all()
    assert (images[1] == 77).all()
    assert (images[2, :, :2] == 255).all() and (images[2, :, 2:] == [0, 0, 255]).all()
    assert images[3, 0].min() > 200 and images[3, 3].max() < 55  # left became top
    assert (images[4] == 200).all()  # 16 bits: 51400 = 200 * 257
    assert (images[5] == 255).all()


def test_image_folder_scales_with_lanczos(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        load_image_folder(tmp_path, 16)[0], picture.resize((16, 16), Image.Resampling.LANCZOS)
    )
    np.testing.assert_array_equal(load_image_folder(tmp_path, 48)[0], picture)


def test_order_of_names_and_home_folder(tmp_path, monkeypatch):
    for name, color in (("b.png", GREEN), ("a.png", RED), ("Z.png", BLUE)):
        save(tmp_path / "mine", name, color)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # the home folder on Windows
    assert load_image_folder("~/mine", 1)[:, 0, 0].tolist() == [list(BLUE), list(RED), list(GREEN)]


# ---- a folder for each class


def test_a_sub_folder_for_each_class(tmp_path):
    # Written in another order than that of the names, with a different number of images each.
    for name, color in (
        ("zebra/1.png", (9, 9, 9)),
        ("horse/b.bmp", (1, 2, 3)),
        ("horse/a.png", RED),
        ("horse/c.PNG", GREEN),
        ("Apple/10.png", BLUE),
        ("Apple/9.png", (7, 8, 9)),
    ):
        save(tmp_path, name, color)
    images, labels = load_image_folder(tmp_path, 2)
    assert images.dtype == np.uint8 and images.shape == (6, 2, 2, 3)
    assert labels.dtype == np.int64 and labels.tolist() == [0, 0, 1, 1, 1, 2]
    wanted = [BLUE, (7, 8, 9), RED, (1, 2, 3), GREEN, (9, 9, 9)]
    assert (images == np.array(wanted)[:, None, None]).all()


def test_classes_are_those_of_keras(tmp_path):
    for label, name in enumerate(("10", "9", "B", "_", "a", "b c")):
        for i in range(label + 1):
            save(tmp_path, f"{name}/{i}.png", (label, i, 255))
    theirs = keras.utils.image_dataset_from_directory(tmp_path, shuffle=False, image_size=(4, 4), verbose=False)
    batches = [[np.asarray(part) for part in batch] for batch in theirs]
    images, labels = load_image_folder(str(tmp_path), 4)
    np.testing.assert_array_equal(images, np.concatenate([batch[0] for batch in batches]))
    np.testing.assert_array_equal(labels, np.concatenate([batch[1] for batch in batches]))
    assert labels.tolist() == images[:, 0, 0, 0].tolist()

    def names():  # as the docstring says
        return sorted(folder.name for folder in Path(tmp_path).glob("[!.]*/"))

    assert names() == theirs.class_names

    # What lies about in folders is neither a class nor an image.
    save(tmp_path, ".ipynb_checkpoints/x.png", RED)
    save(tmp_path, "9/.ipynb_checkpoints/0-checkpoint.png", RED)
    save(tmp_path, "9/notes/.ipynb_checkpoints/0-checkpoint.png", RED)
    (tmp_path / "9/._0.png").write_text("left by macOS")
    (tmp_path / ".DS_Store").write_text("left by macOS")
    (tmp_path / "LICENSE").write_text("not a folder")
    (tmp_path / "a/labels.csv").write_text("not an image")
    again = load_image_folder(tmp_path, 4)
    np.testing.assert_array_equal(again[0], images)
    np.testing.assert_array_equal(again[1], labels)
    assert names() == theirs.class_names


def test_one_class_is_a_class(tmp_path):
    save(tmp_path, "only/a.png", RED)
    images, labels = load_image_folder(tmp_path, 1)
    assert images.tolist() == [[[list(RED)]]] and labels.tolist() == [0]


# ---- what goes wrong


def test_image_folder_errors(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        load_image_folder(tmp_path / "nowhere", 32)
    (tmp_path / "sub").mkdir()
    with pytest.raises(ValueError, match="sub holds no images"):
        load_image_folder(tmp_path / "sub", 32)
    for size in (0, 32.5, "32"):
        with pytest.raises(ValueError, match=r"size is .* whole number"):
            load_image_folder(tmp_path, size)
    with pytest.raises(ValueError, match=r"holds no images .*, and no sub-folder of it does"):
        load_image_folder(tmp_path, 32)  # a sub-folder, but an empty one


@pytest.mark.parametrize("folder", ["", "cat/"])
@pytest.mark.parametrize(
    "name, content",
    [("cut.png", None), ("text.jpg", b"hello"), ("empty.gif", b""), ("phone.heic", b"\0" * 99)],
)
def test_an_image_that_cannot_be_read_is_named(tmp_path, folder, name, content):
    save(tmp_path, f"{folder}good.png", RED)
    whole = (tmp_path / folder / "good.png").read_bytes()
    (tmp_path / folder / name).write_bytes(whole[:45] if content is None else content)
    with pytest.raises(ValueError, match=rf"{folder}{name} cannot be read as an image .*repair it or take it away"):
        load_image_folder(tmp_path, 32)


def test_a_class_without_images_is_refused(tmp_path):
    # Left out, "b" would turn the label of "c" from 2 to 1.
    for name in ("a/1.png", "c/1.png"):
        save(tmp_path, name, RED)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/notes.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"b holds no images, but each sub-folder of .* is a class; .*take it away"):
        load_image_folder(tmp_path, 4)


def test_one_level_too_high_is_refused(tmp_path):
    for name in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png"):
        save(tmp_path, name, RED)
    with pytest.raises(ValueError, match="holds no images"):
        load_image_folder(tmp_path, 4)
    assert load_image_folder(tmp_path / "train", 4)[1].tolist() == [0, 1]


@pytest.mark.parametrize("place", ["b", "b/c/d"])
def test_images_beside_sub_folders_with_images_are_refused(tmp_path, place):
    save(tmp_path, "class/1.png", RED)
    save(tmp_path, f"class/{place}/2.PNG", RED)
    said = rf"class holds images, and so does its sub-folder {place}\. Move all of them directly into one folder; or"
    for folder in (tmp_path / "class", tmp_path):  # images beside images, and one class with more below
        with pytest.raises(ValueError, match=said):
            load_image_folder(folder, 4)
    (tmp_path / f"class/{place}/2.PNG").unlink()
    assert load_image_folder(tmp_path / "class", 4).shape == (1, 4, 4, 3)
