"""Two domains for unpaired image translation: apples and oranges, horses and zebras, or your own two kinds of pictures.

An archive is read where it lies and never unpacked. Images stay uint8 until a batch needs them.
"""

import io
import os
import re
import zipfile
from pathlib import Path, PurePath, PurePosixPath

import keras
import numpy as np

from ..files import DataUnavailable, did_you_mean, local_folders
from .folder import Notes, Unsuitable, images_among, is_clutter, is_image, read_square, walk, way_to_read
from .fruits import draw_fruits, sample_fruit_attributes

_NAMES = ("fruits", "horse2zebra")
_URL = "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/horse2zebra.zip"  # 117 MB
_SHA256 = "a74d9d392eecca9966b51287a76ca126af473d9de4f3e8fc0e9cda08fa1730a1"  # as TensorFlow Datasets noted it
_FOLDERS = ("trainA", "trainB", "testA", "testB")
_LARGEST = 200_000_000  # bytes of one image in a zip: a small archive can unpack to more than a machine's memory


def load_domains(name, size=None):
    """Load two domains for unpaired image translation.

    horse2zebra is looked for in the folder $KERAS_GEN_DATA, in the repository's data/ and in Keras's own cache, as
    `horse2zebra` or `horse2zebra.zip`, or as `horse2zebra_<pixels>.zip` with images of at least `size` pixels; then it
    is downloaded. Nothing is ever substituted.

    Args:
        name: one of three.
            "fruits": drawn apples (a) and oranges (b), 1,000 unpaired of each to train; 200 of each to test, and these
            are pairs: `test_b[i]` is `test_a[i]` with the other fruit.
            "horse2zebra": photographs of horses (a) and zebras (b), all unpaired (Zhu et al. 2017).
            A path: a folder or zip of your own with the image folders trainA, trainB, testA, testB somewhere inside,
            read the same way: upright, cut to the central square, scaled (Lanczos), grey made RGB, in the order of
            their names.
        size: height and width of the images in pixels, at least 8; by default 64 for fruits, else 128.

    Returns:
        `(train_a, train_b), (test_a, test_b)`, each uint8 (n, size, size, 3).

    Raises:
        ValueError: an unknown name, a wrong size, a damaged zip, a domain without images, more than one data set in
            the place, an image that cannot be read.
        DataUnavailable: horse2zebra is not here, and the download failed; or $KERAS_GEN_DATA is not a folder.
    """
    size = size if size is not None else 64 if name == "fruits" else 128
    if not isinstance(size, (int, np.integer)) or size < 8:
        raise ValueError(f"size is {size!r}; it must be a whole number of pixels, at least 8.")
    if name == "fruits":
        return _fruits(size)
    if name == "horse2zebra":
        return _read(_find_horses(size), size)
    if not isinstance(name, (str, PurePath)) or name == "":
        raise ValueError(
            f"Give a name, {' or '.join(map(repr, _NAMES))}, or a folder's or zip's path; given: {name!r}."
        )
    path = Path(os.path.expanduser(name))  # as Path's own, which raises where there is no home folder
    if path.exists():
        return _read(path, size)
    names = ", ".join(map(repr, _NAMES))
    raise ValueError(
        f"There are no domains {str(name)!r}, and no such folder or zip.{did_you_mean(name, _NAMES)} "
        f"The names are {names}. Looked for: {os.path.abspath(path)!r}."
    )


def _fruits(size):
    apples, oranges, pairs = (sample_fruit_attributes(n, seed) for n, seed in ((1000, 1), (1000, 2), (200, 3)))
    train = draw_fruits("apple", apples, size), draw_fruits("orange", oranges, size)
    return train, (draw_fruits("apple", pairs, size), draw_fruits("orange", pairs, size))


def _find_horses(size):
    folders = local_folders()
    for folder in folders:
        # A smaller copy, made once, saves a laptop 90 MB; one that would have to be enlarged does not count.
        smaller = [
            (int(m[1]), f) for f in folder.glob("*.zip") if (m := re.fullmatch(r"horse2zebra_(\d+)\.zip", f.name))
        ]
        files = [f for pixels, f in sorted(smaller, reverse=True) if pixels >= size]
        for path in (folder / "horse2zebra", folder / "horse2zebra.zip", *files):
            if path.exists():
                return path
    try:
        # Under another name until it is whole: half a download must not be taken for the archive.
        part = Path(keras.utils.get_file("horse2zebra.zip.part", _URL, file_hash=_SHA256))
        return part.replace(part.with_suffix(""))
    except Exception as error:  # get_file raises a bare Exception when the network fails
        raise DataUnavailable(
            f"horse2zebra is not on this machine, and Keras could not download it ({type(error).__name__}: {error}).\n"
            f"Looked for horse2zebra, horse2zebra.zip and horse2zebra_<pixels>.zip, from {size} pixels on, in "
            f"{', '.join(map(str, folders))}.\n"
            f"By hand: put {_URL} (117 MB), as it is, into {folders[-2:][0]}, or into a folder that KERAS_GEN_DATA "
            "names; data/README.md has more.\n"
            'Without it: load_domains("fruits") needs no download; choose it if it serves you.'
        ) from error


def _read(path, size):
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file for file in walk(path)}
        return _domains(path, files, lambda name: files[name], size)
    try:
        with zipfile.ZipFile(path) as archive:
            files = {info.filename.replace("\\", "/"): info for info in archive.infolist() if not info.is_dir()}

            def opened(name):
                if files[name].file_size > _LARGEST:
                    raise Unsuitable(f"unpacks to {files[name].file_size:,} bytes, more than an image's {_LARGEST:,}.")
                try:
                    return io.BytesIO(archive.read(files[name]))  # whole, so that its checksum is compared
                except Exception as error:  # zipfile and zlib raise a dozen kinds
                    raise Unsuitable(
                        f"cannot be read ({error}): the zip is damaged or encrypted. Get it anew, or unpack it and "
                        "give the folder."
                    ) from error

            return _domains(path, files, opened, size)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no zip, or was cut off ({error}). Delete or replace it.") from error


def _domains(source, names, opened, size):
    """Read the images among `names`, '/'-separated paths within `source`, each through `opened(name)`."""
    found, places = {folder: [] for folder in _FOLDERS}, set()
    for name in sorted(names):
        *parents, file = PurePosixPath(name).parts
        if any(is_clutter(part) for part in (*parents, file)) or not found.keys() & set(parents):
            continue
        if parents[-1] in found:
            found[parents[-1]].append(name)
            places.add(str(PurePosixPath(*parents[:-1])))
        elif is_image(file):
            raise ValueError(
                f"{name} in {source} would be lost: put all images directly into {', '.join(_FOLDERS)}, with no folder "
                "between."
            )
    if len(places) > 1:
        raise ValueError(
            f"{source} holds more than one data set, in {', '.join(sorted(places))}; give the path of one."
        )
    for folder, files in found.items():
        found[folder] = images_among(files, f"{folder} in {source}")
        if not found[folder]:
            raise ValueError(
                f"{source} has no images in {folder}; it must hold {', '.join(_FOLDERS)}, none empty, spelt so."
            )
    arrays, notes = [], Notes()
    for files in found.values():
        arrays.append(images := np.empty((len(files), size, size, 3), np.uint8))
        for i, name in enumerate(files):
            try:
                images[i] = read_square(opened(name), size, notes)
            except Exception as error:  # Pillow and zipfile raise a dozen kinds for bad files
                raise ValueError(way_to_read(error, name, f" in {source}")) from error
    notes.say()
    return tuple(arrays[:2]), tuple(arrays[2:])
