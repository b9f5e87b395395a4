"""Two domains: the drawn one and its truth, archives read as they lie, and what a student reads when one is broken."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_gen import DataUnavailable, files
from keras_gen.data import domains, draw_fruits, load_domains, sample_fruit_attributes

FOLDERS = ("trainA", "trainB", "testA", "testB")


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No local data but what a test writes, and no download."""
    for name in ("checkout/data", "keras/datasets"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(files, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on https://example.org: None -- no network")  # as get_file does

    monkeypatch.setattr(keras.utils, "get_file", fail)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def picture(seed, shape=(16, 16, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def members(n_train_a=3, **changes):
    """Files of a small data set, {name: bytes}; `changes` replaces the files of a folder."""
    counts = dict(zip(FOLDERS, (n_train_a, 2, 1, 2), strict=True))
    files = {f"{folder}/{i}.png": png(picture(n + i)) for folder, n in counts.items() for i in range(n)}
    for folder, content in changes.items():
        files = {name: file for name, file in files.items() if not name.startswith(folder)}
        files |= {f"{folder}/{name}": file for name, file in content.items()}
    return files


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


# ---- the drawn domains


def test_fruits_are_unpaired_to_train_and_paired_to_test():
    (train_a, train_b), (test_a, test_b) = load_domains("fruits", 16)
    for images, n in ((train_a, 1000), (train_b, 1000), (test_a, 200), (test_b, 200)):
        assert images.shape == (n, 16, 16, 3) and images.dtype == np.uint8
    # The wall of test_a[i] is the wall of test_b[i]; the training pictures have their own (but for rare coincidence).
    np.testing.assert_array_equal(test_a[:, 0], test_b[:, 0])
    walls = [{row.tobytes() for row in images[:, 0]} for images in (train_a, train_b, test_a)]
    assert len(set.union(*walls)) > 2190
    pairs = sample_fruit_attributes(200, seed=3)  # as data/README.md says
    np.testing.assert_array_equal(test_a, draw_fruits("apple", pairs, 16))
    np.testing.assert_array_equal(test_b, draw_fruits("orange", pairs, 16))
    np.testing.assert_array_equal(train_b, draw_fruits("orange", sample_fruit_attributes(1000, seed=2), 16))


def test_fruits_have_64_pixels_if_not_said_otherwise(monkeypatch):
    monkeypatch.setattr(domains, "draw_fruits", lambda kind, attributes, size: (kind, len(attributes["x"]), size))
    apples, oranges = ("apple", 1000, 64), ("orange", 1000, 64)
    assert load_domains("fruits") == ((apples, oranges), (("apple", 200, 64), ("orange", 200, 64)))


# ---- archives


def test_horse2zebra_is_the_real_one(real_data):
    (train_a, train_b), (test_a, test_b) = load_domains("horse2zebra", 32)
    assert [len(x) for x in (train_a, train_b, test_a, test_b)] == [1067, 1334, 120, 140]
    # Zebras are grey and striped: less colour than horses on grass, more contrast from pixel to pixel.
    colour_a, colour_b = (np.ptp(x.astype(int), axis=-1).mean() for x in (train_a, train_b))
    stripes_a, stripes_b = (np.abs(np.diff(x.astype(int), axis=2)).mean() for x in (train_a, train_b))
    assert colour_a > 1.1 * colour_b and stripes_b > 1.1 * stripes_a


@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize("inside", ["", "horse2zebra/", "a/b/"])
def test_folder_or_zip(tmp_path, write, inside):
    clutter = {"__MACOSX/trainA/._0.png": b"", "trainA/.hidden.png": b"", "trainA/readme.txt": b"", "x.png": b""}
    files = {f"{inside}{name}": content for name, content in (members() | clutter).items()}
    path = write(tmp_path / "mine.zip", files)  # a folder may be called so, too
    (train_a, train_b), (test_a, test_b) = load_domains(path, 16)
    np.testing.assert_array_equal(train_a, [picture(i) for i in (3, 4, 5)])
    np.testing.assert_array_equal(train_b, [picture(i) for i in (2, 3)])
    np.testing.assert_array_equal(test_a, [picture(1)])
    np.testing.assert_array_equal(test_b, [picture(i) for i in (2, 3)])
    assert train_a.dtype == np.uint8
    np.testing.assert_array_equal(load_domains(str(path), 16)[0][0], train_a)


def test_zip_from_windows(tmp_path):
    path = write_zip(tmp_path / "mine.zip", {name.replace("/", "\\"): file for name, file in members().items()})
    assert load_domains(path)[0][0].shape == (3, 128, 128, 3)


def test_grey_becomes_rgb_and_the_centre_is_kept_and_scaled(tmp_path):
    grey, wide = picture(7, (16, 16)), picture(8, (16, 40, 3))
    tall = np.repeat(np.repeat(picture(9, (2, 2, 3)), 64, axis=0), 64, axis=1)  # four flat squares
    files = {"a.png": png(grey), "b.PNG": png(wide), "c.png": png(np.pad(tall, ((64, 64), (0, 0), (0, 0)), "edge"))}
    (images, _), _ = load_domains(write_zip(tmp_path / "mine.zip", members(trainA=files)), 16)
    np.testing.assert_array_equal(images[0], np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(images[1], wide[:, 12:28])
    np.testing.assert_allclose(images[2, 2::11, 2::11].astype(int), tall[::64, ::64], atol=2)  # inside the squares
    lanczos = Image.fromarray(tall).resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_allclose(images[2].astype(int), np.asarray(lanczos), atol=1)


def test_look_up_order(tmp_path, monkeypatch):
    asked = []

    def get_file(name, url, file_hash):
        asked.append((name, url, file_hash))
        return str(write_zip(tmp_path / "keras/datasets" / name, members(9)))

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    assert len(load_domains("horse2zebra", 16)[0][0]) == 9
    (name, url, file_hash) = asked[0]  # half a download does not lie under the archive's name
    assert (name, url) == (
        "horse2zebra.zip.part",
        "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/horse2zebra.zip",
    )
    assert f"SHA-256 `{file_hash}`" in (Path(__file__).parents[2] / "data/README.md").read_text()
    assert [path.name for path in (tmp_path / "keras/datasets").iterdir()] == ["horse2zebra.zip"]
    (tmp_path / "keras/datasets/horse2zebra.zip").unlink()
    monkeypatch.setenv("KERAS_GEN_DATA", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    # Each one added counts before those added earlier.
    places = "keras/datasets/horse2zebra checkout/data/horse2zebra_32 checkout/data/horse2zebra"
    places += " mine/horse2zebra_16 mine/horse2zebra_128 mine/horse2zebra"
    for n, place in enumerate(places.split(), start=1):
        write_zip(tmp_path / f"{place}.zip", members(n))
        assert len(load_domains("horse2zebra", 16)[0][0]) == n
    write_folder(tmp_path / "mine/horse2zebra", members(7))
    assert len(load_domains("horse2zebra", 16)[0][0]) == 7
    assert len(asked) == 1  # local files came first


def test_a_smaller_copy_is_never_enlarged(tmp_path):
    write_zip(tmp_path / "checkout/data/horse2zebra_64.zip", members())
    assert load_domains("horse2zebra", 64)[0][0].shape == (3, 64, 64, 3)
    with pytest.raises(DataUnavailable, match="from 128 pixels on"):
        load_domains("horse2zebra")


# ---- what goes wrong


@pytest.mark.parametrize("name, hint", [("fruit", "'fruits'"), ("Horse2Zebra", "'horse2zebra'")])
def test_unknown_name(name, hint):
    with pytest.raises(ValueError, match=f"Did you mean {hint}\\? The names are 'fruits', 'horse2zebra'"):
        load_domains(name)
    with pytest.raises(
        ValueError, match=rf"no domains 'maps', and no such folder or zip\. The names are .*{Path.cwd()}.maps"
    ):
        load_domains("maps")
    for path in ("", None, ["trainA"]):  # "" would be the current folder
        with pytest.raises(ValueError, match="a folder's or zip's path"):
            load_domains(path)


@pytest.mark.parametrize("name", ["fruits", "horse2zebra", "."])
@pytest.mark.parametrize("size", [0, 7, -64, 64.0, "64", (64, 64)])
def test_wrong_size(name, size):
    with pytest.raises(ValueError, match=r"size is .*; it must be a whole number of pixels, at least 8"):
        load_domains(name, size)


def test_unavailable(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("KERAS_GEN_DATA", str(tmp_path / "mine"))
    with pytest.raises(DataUnavailable) as caught:
        load_domains("horse2zebra")
    message = str(caught.value)
    for said in ("no network", "efrosgans", f"into {tmp_path / 'checkout/data'}", 'load_domains("fruits")'):
        assert said in message
    for folder in ("mine", "checkout/data", "keras/datasets"):
        assert str(tmp_path / folder) in message


def test_no_zip_or_one_cut_off(tmp_path):
    path = write_zip(tmp_path / "checkout/data/horse2zebra.zip", members())
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], b"", b"<html>404</html>"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"horse2zebra\.zip is no zip, or was cut off .*Delete or replace it"):
            load_domains("horse2zebra")


@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize("name", ["trainA/1.png", "testB/0.png"])
def test_a_damaged_image_is_named(tmp_path, write, name):
    whole = members()[name]
    for content in (whole[:60], b"hello", b""):
        path = write(tmp_path / "mine", members() | {name: content})
        with pytest.raises(ValueError, match=rf"{name} in .*mine cannot be read as an image .*take it"):
            load_domains(path, 16)


def test_one_wrong_bit_in_a_zip_is_found(tmp_path):
    files = members()
    files["trainB/1.png"] += bytes(200_000)  # which no decoder looks at
    path = write_zip(tmp_path / "mine.zip", files)
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("trainB/1.png")
    content = bytearray(path.read_bytes())
    content[member.header_offset + 30 + len(member.filename) + member.file_size - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"trainB/1\.png in .* cannot be read .*Bad CRC-32.* zip is damaged"):
        load_domains(path, 16)


@pytest.mark.parametrize("write", [write_folder, write_zip])
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_domain_missing_or_empty(tmp_path, write, folder):
    for n, content in enumerate(({}, {"notes.txt": b"no image"})):
        path = write(tmp_path / str(n), members(**{folder: content}))
        with pytest.raises(ValueError, match=rf"has no images in {folder}; it must hold trainA, trainB, testA, testB"):
            load_domains(path)


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_what_would_be_lost_is_named(tmp_path, write, capsys):
    path = write(tmp_path / "deep", members() | {"trainA/more/9.png": png(picture(0))})
    with pytest.raises(ValueError, match=r"trainA/more/9\.png in .*deep would be lost"):
        load_domains(path)
    path = write(tmp_path / "other", members() | {"testB/9.psd": b"a picture"})
    with pytest.raises(ValueError, match=r"testB in .*other holds 9\.psd, which this loader does not read"):
        load_domains(path)
    load_domains(write(tmp_path / "notes", members() | {"testB/notes.txt": b"no image"}), 16)
    assert "testB in" in (said := capsys.readouterr().out) and "left out notes.txt" in said


def test_floats_of_two_ranges_in_one_data_set_are_refused(tmp_path):
    files = {}
    for name, high in (("trainA/1.tif", 1), ("testB/2.tif", 200)):
        content = io.BytesIO()
        Image.fromarray(np.linspace(0, high, 64, dtype="float32").reshape(8, 8)).save(content, "tiff")
        files[name] = content.getvalue()
    with pytest.raises(ValueError, match=r"testB/2\.tif in .* what is white"):
        load_domains(write_folder(tmp_path, members() | files))


def test_12_bits_in_16_get_a_word(tmp_path, capsys):
    content = png((np.arange(64) * 65).reshape(8, 8).astype("uint16"))
    load_domains(write_folder(tmp_path, members() | {"testB/2.png": content}), 8)
    assert "reach 4095 of 65535" in capsys.readouterr().out


def test_a_zip_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path):
    """200 MB of zeros are a zip of 200 kB, and a gigabyte of memory would not be the end of it."""
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members().items():
            archive.writestr(name, content)
        archive.writestr("testB/9.png", bytes(200_000_001))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"testB/9\.png in .*bomb\.zip: unpacks to 200,000,001 bytes"):
        load_domains(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_an_encrypted_zip_is_not_called_damaged_alone(tmp_path):
    path = write_zip(tmp_path / "mine.zip", members())
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the flag, in each header
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"trainA/0\.png in .* encrypted.*unpack it and give the folder"):
        load_domains(path)


def test_a_folder_that_holds_a_link_to_the_data(tmp_path):
    write_folder(tmp_path / "elsewhere", members())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/data").symlink_to(tmp_path / "elsewhere")
    assert load_domains(tmp_path / "mine", 16)[0][0].shape == (3, 16, 16, 3)
    (tmp_path / "elsewhere/up").symlink_to(tmp_path / "mine")  # a circle
    assert load_domains(tmp_path / "mine", 16)[0][0].shape == (3, 16, 16, 3)


@pytest.mark.parametrize("write", [write_folder, write_zip])
def test_two_data_sets_in_one_place(tmp_path, write):
    path = write(tmp_path / "both", {f"{place}{name}": f for place in ("", "b/c/") for name, f in members().items()})
    with pytest.raises(ValueError, match=r"both holds more than one data set, in \., b/c; give the path of one"):
        load_domains(path)
