"""One's own images: as one array, or in a folder for each class; nothing is lost without a word."""

import struct
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_gen.data import folder as module
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


def save_png(path, bits, colour_type, rows, transparent):
    """A PNG of any depth with one transparent colour (tRNS), which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", 8, len(rows), bits, colour_type, 0, 0, 0)
    content = chunk(b"IHDR", size) + chunk(b"tRNS", transparent)
    content += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


@pytest.mark.parametrize(
    ("bits", "colour_type", "row", "transparent"),
    [
        (1, 0, b"\x0f", ">H 0"),
        (1, 0, b"\xf0", ">H 1"),
        (2, 0, b"\x55\x00", ">H 1"),
        (4, 0, b"\x55\x55\x00\x00", ">H 5"),
        (8, 0, b"\x55" * 4 + bytes(4), ">H 85"),
        (16, 0, struct.pack(">8H", *[513] * 4, *[0] * 4), ">H 513"),
        (8, 2, b"\x55\0\1" * 4 + bytes(12), ">3H 85 0 1"),
        (16, 2, struct.pack(">24H", *[513, 0, 9999] * 4, *[0] * 12), ">3H 513 0 9999"),
    ],
)
def test_a_transparent_colour_becomes_white_in_every_depth(tmp_path, bits, colour_type, row, transparent):
    layout, *values = transparent.split()
    save_png(tmp_path / "a.png", bits, colour_type, [row] * 8, struct.pack(layout, *map(int, values)))
    (image,) = load_image_folder(tmp_path, 8)
    assert (image[:, :4] == 255).all()
    assert (image[:, 4:] == (255 if transparent == ">H 0" else 0)).all()  # of one bit, what is not black is white


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(tmp_path, orientation):
    """The corners of what a camera stored, by where EXIF says that they belong."""
    corners = np.array([[0, 80], [160, 240]], np.uint8)  # upright: top left, top right, bottom left, bottom right
    stored = {
        1: corners,
        2: corners[:, ::-1],
        3: corners[::-1, ::-1],
        4: corners[::-1],
        5: corners.T,
        6: np.rot90(corners, 1),
        7: corners[::-1, ::-1].T,
        8: np.rot90(corners, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = Image.fromarray(stored.repeat(32, 0).repeat(32, 1))
    content.save(tmp_path / "a.jpg", exif=exif.tobytes(), quality=95)
    content.save(tmp_path / "b.tif", exif=exif)
    for image in load_image_folder(tmp_path, 2):
        assert np.abs(image[:, :, 0].astype(int) - corners).max() < 25


def test_a_phones_position_of_0_0_and_damaged_exif_do_not_matter(tmp_path):
    gps = struct.pack("<HHHII", 1, 2, 5, 3, 56) + bytes(4) + bytes(24)  # GPSLatitude: three rationals 0/0
    entries = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHII", 0x8825, 4, 1, 38)
    tiff = b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4) + gps
    picture = Image.fromarray(np.array([[200, 200], [0, 0]], np.uint8).repeat(16, 0).repeat(16, 1))
    picture.save(tmp_path / "phone.jpg", exif=b"Exif\0\0" + tiff)
    picture.save(tmp_path / "torn.jpg", exif=b"Exif\0\0" + tiff[:15])
    phone, torn = load_image_folder(tmp_path, 2)[..., 0]
    assert phone[:, 1].min() > 150 > 50 > phone[:, 0].max()  # turned clockwise: what was above is at the right
    assert torn[0].min() > 150 > 50 > torn[1].max()


RAMP = np.tile(np.linspace(0, 1, 8), (8, 1))


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (RAMP.astype("float32"), 1),
        ((RAMP * 1.0005).astype("float32"), 1),
        ((RAMP * 255).astype("float32"), 255),
        ((RAMP * 255).astype("int32"), 255),
        ((RAMP * 65535).astype("int32"), 65535),
        ((RAMP * 65535).astype("uint16"), 65535),
        (RAMP.round().astype("int32"), 1),
        (np.zeros((8, 8), "float32"), 1),
    ],
)
def test_deep_grey_keeps_its_levels(tmp_path, values, white, capsys):
    Image.fromarray(values).save(tmp_path / "a.tif")
    (image,) = load_image_folder(tmp_path, 8)
    assert np.abs(image - 255.0 * values[..., None] / white).max() < 0.7
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (2 * RAMP - 1, "from -1 to 1; 0 to 1 and 0 to 255"),
        (RAMP * 4000, "from 0 to 4000"),
        (np.where(RAMP < 0.5, RAMP, np.nan), "nan"),
        (np.where(RAMP < 0.5, RAMP, np.inf), "inf"),
        ((RAMP * 70000).astype("int32"), "from 0 to 7e\\+04; 0 to 1 and 0 to 65535"),
        ((RAMP * 9 - 5).astype("int32"), "from -5 to 4"),
    ],
)
def test_deep_grey_of_an_unknown_range_is_refused(tmp_path, values, said):
    Image.fromarray(values if values.dtype.kind == "i" else values.astype("float32")).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a\.tif: its grey values run .*{said}.*8-bit PNG"):
        load_image_folder(tmp_path, 8)


def test_floats_of_two_ranges_in_one_folder_are_refused(tmp_path):
    for name, values in (("a", RAMP), ("b", RAMP * 200), ("black", RAMP * 0)):
        Image.fromarray(values.astype("float32")).save(tmp_path / f"{name}.tif")
    with pytest.raises(ValueError, match=r"b\.tif: what is white\? .*a\.tif \(1\), .*b\.tif \(255\)"):
        load_image_folder(tmp_path, 8)


def test_a_black_image_fits_to_any_range(tmp_path):
    for name, values in (("a", RAMP * 0), ("b", RAMP * 255)):
        Image.fromarray(values.astype("float32")).save(tmp_path / f"{name}.tif")
    assert load_image_folder(tmp_path, 8).max(axis=(1, 2, 3)).tolist() == [0, 255]


def test_16_bits_stay_16_bits_where_an_image_is_dark(tmp_path):
    dark = np.full((8, 8), 250, ">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 65535\n" + dark.tobytes())
    Image.fromarray(dark.astype("uint16")).save(tmp_path / "b.png")
    assert (load_image_folder(tmp_path, 8) == 1).all()


def test_12_bits_in_16_and_further_pages_get_a_word(tmp_path, capsys):
    Image.fromarray((RAMP * 4095).astype("uint16")).save(tmp_path / "a.png")
    pages = [Image.new("L", (8, 8), level) for level in (10, 20)]
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    images = load_image_folder(tmp_path, 8)
    said = capsys.readouterr().out
    assert "reach 4095 of 65535" in said and "More than one page" in said and "b.tif" in said
    assert (images[1] == 10).all()
    Image.fromarray((RAMP * 4096).astype("uint16")).save(tmp_path / "a.png")
    load_image_folder(tmp_path, 8)
    assert "65535" not in capsys.readouterr().out


# ---- what is an image, and what is left out

ALIKE = {"jpe": "JPEG", "jfif": "JPEG", "apng": "PNG", "pgm": "PPM", "ppm": "PPM", "pbm": "PPM", "pnm": "PPM"}
FORMAT = ALIKE | {
    "jp2": "JPEG2000",
    "tga": "TGA",
    "dib": "DIB",
    "webp": "WEBP",
    "pcx": "PCX",
    "sgi": "SGI",
}


@pytest.mark.parametrize("ending", [*FORMAT, "TGA"])
def test_formats_beside_a_png(tmp_path, ending):
    save(tmp_path, "a.png", RED)
    image = Image.new("1" if ending == "pbm" else "RGB", (8, 8))
    image.save(tmp_path / f"b.{ending}", format=FORMAT[ending.lower()])
    assert load_image_folder(tmp_path, 8)[1].max() < 20


def test_every_ending_that_pillow_knows_is_read_or_refused():
    data = {".bufr", ".grib", ".h5", ".hdf", ".iim", ".mpg", ".mpeg"}  # no pictures, by themselves
    known = set(module.IMAGE_ENDINGS) | module._OTHER_PICTURES
    assert set(Image.registered_extensions()) - data <= known
    assert not set(module.IMAGE_ENDINGS) & module._OTHER_PICTURES


@pytest.mark.parametrize("place", ["", "cat/"])
@pytest.mark.parametrize("name", ["b.psd", "b.svg", "b.NEF", "b.eps"])
def test_pictures_that_it_does_not_read_are_named(tmp_path, place, name):
    save(tmp_path, f"{place}a.png", RED)
    (tmp_path / f"{place}{name}").write_bytes(b"a picture")
    with pytest.raises(ValueError, match=f"{name}, which this loader does not read: convert"):
        load_image_folder(tmp_path, 8)


def test_what_is_left_out_is_named(tmp_path, capsys):
    save(tmp_path, "cat/a.png", RED)
    load_image_folder(tmp_path, 8)
    assert not capsys.readouterr().out
    for name in ("labels.csv", "cat/1.txt", "cat/2.txt", "cat/3.txt"):
        (tmp_path / name).write_text("no image")
    load_image_folder(tmp_path, 8)
    assert "left out labels.csv, 1.txt, 2.txt and 1 more" in capsys.readouterr().out


def test_no_program_is_started_for_a_file(tmp_path, monkeypatch):
    """PostScript in a file that is called .png makes Pillow start Ghostscript; text in a .jpg may be anything."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("started"))
    (tmp_path / "cat.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match=r"cat\.png cannot be read as an image .*Convert it"):
        load_image_folder(tmp_path, 8)


def test_an_image_too_large_for_pillow_is_not_called_damaged(tmp_path, monkeypatch):
    save(tmp_path, "a.png", RED)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
    with pytest.raises(ValueError, match=r"a\.png cannot .*too large for Pillow\. Scale it down"):
        load_image_folder(tmp_path, 8)


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
    save(tmp_path, "9/@eaDir/0.png", RED)
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


def test_links_are_followed(tmp_path):
    save(tmp_path / "elsewhere", "a.png", RED)
    (tmp_path / "mine").mkdir()
    for name in ("cat", "dog"):  # one folder, twice
        (tmp_path / "mine" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "mine")  # a circle
    with pytest.raises(ValueError, match="cat holds images, and so does its sub-folder"):
        load_image_folder(tmp_path / "mine", 4)
    (tmp_path / "elsewhere/up").unlink()
    assert load_image_folder(tmp_path / "mine", 4)[1].tolist() == [0, 1]
    (tmp_path / "circle").mkdir()
    (tmp_path / "circle/itself").symlink_to(tmp_path / "circle")
    with pytest.raises(ValueError, match="but nothing"):
        load_image_folder(tmp_path / "circle", 4)
    (tmp_path / "elsewhere/b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"b\.png cannot be read"):
        load_image_folder(tmp_path / "mine", 4)


# ---- what goes wrong


def test_image_folder_errors(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="nowhere' is not a folder"):
        load_image_folder(tmp_path / "nowhere", 32)
    (tmp_path / "sub").mkdir()
    with pytest.raises(ValueError, match=r"sub holds no images .* but nothing"):
        load_image_folder(tmp_path / "sub", 32)
    for size in (0, 32.5, "32"):
        with pytest.raises(ValueError, match=r"size is .* whole number"):
            load_image_folder(tmp_path, size)
    with pytest.raises(ValueError, match="holds no images"):
        load_image_folder(tmp_path, 32)  # a sub-folder, but an empty one
    (tmp_path / "sub/a.mp4").write_bytes(b"film")
    with pytest.raises(ValueError, match=r"holds no images .* but a\.mp4"):
        load_image_folder(tmp_path, 32)


@pytest.mark.parametrize("path", [None, "", ["a.png", "b.png"], 3, b"pets"])
def test_what_is_no_path(path):
    with pytest.raises(ValueError, match="Give the path of a folder"):
        load_image_folder(path, 8)


def test_a_wrong_path_is_shown_as_it_is_and_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME", raising=False)
    with pytest.raises(ValueError, match=rf"'pets' is not a folder.*{tmp_path}.pets"):
        load_image_folder("pets", 8)
    with pytest.raises(ValueError, match=r"'data\\train' is not a folder.* a tab .*data/train"):
        load_image_folder("data\train", 8)
    with pytest.raises(ValueError, match=r"'~nobody-here/pets' is not a folder"):
        load_image_folder("~nobody-here/pets", 8)
    (tmp_path / "pets.zip").touch()
    with pytest.raises(ValueError, match="unpack it"):
        load_image_folder("pets.zip", 8)


@pytest.mark.parametrize("folder", ["", "cat/"])
@pytest.mark.parametrize(
    ("name", "content", "way"),
    [
        ("cut.png", None, "PNG or JPEG"),
        ("text.jpg", b"hello", "PNG or JPEG"),
        ("empty.gif", b"", "PNG or JPEG"),
        ("phone.heic", b"\0" * 99, "pillow-heif"),
    ],
    ids=["cut", "text", "empty", "heic"],
)
def test_an_image_that_cannot_be_read_is_named(tmp_path, folder, name, content, way):
    save(tmp_path, f"{folder}good.png", RED)
    whole = (tmp_path / folder / "good.png").read_bytes()
    (tmp_path / folder / name).write_bytes(whole[:45] if content is None else content)
    with pytest.raises(ValueError, match=rf"{folder}{name} cannot be read as an image .*{way}"):
        load_image_folder(tmp_path, 32)


def test_a_class_without_images_is_refused(tmp_path):
    # Left out, "b" would turn the label of "c" from 2 to 1.
    for name in ("a/1.png", "c/1.png"):
        save(tmp_path, name, RED)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/notes.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"b holds no images, but each sub-folder of .* is a class; .*take it away"):
        load_image_folder(tmp_path, 4)
    save(tmp_path, "b/deeper/1.png", RED)
    with pytest.raises(ValueError, match=r"b holds no images.* deeper, in .*b.deeper"):
        load_image_folder(tmp_path, 4)


def test_one_level_too_high_is_refused(tmp_path):
    for name in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png"):
        save(tmp_path, name, RED)
    with pytest.raises(
        ValueError, match=r"lie deeper, in test.cat, train.cat, train.dog\. .*load_image_folder\('.*test'"
    ):
        load_image_folder(tmp_path, 4)
    assert load_image_folder(tmp_path / "train", 4)[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("names", "refused"),
    [
        (("train", "test"), True),
        (("Train", "val", "labels"), True),
        (("training_set", "test_set"), True),
        (("train",), True),
        (("trainA", "trainB", "testA", "testB"), True),
        (("train", "plane"), False),  # vehicles
        (("rain", "testament"), False),
    ],
)
def test_parts_of_a_data_set_are_no_classes(tmp_path, names, refused):
    for name in names:
        save(tmp_path, f"{name}/1.png", RED)
    if refused:
        with pytest.raises(ValueError, match="parts of a data set, not classes"):
            load_image_folder(tmp_path, 4)
    else:
        assert load_image_folder(tmp_path, 4)[1].tolist() == [0, 1]


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
