"""A folder of your own pictures as a data set."""

import os
import re
from pathlib import Path, PurePath

import numpy as np
from PIL import Image, ImageOps

# Formats by what stands in a file, whatever its name. Others are never opened: for some (PostScript), Pillow starts a
# program. HEIF is there where pillow-heif was installed and registered.
FORMATS = tuple("PNG JPEG MPO BMP DIB GIF TIFF WEBP AVIF HEIF JPEG2000 PPM TGA QOI PCX SGI ICO".split())
_HEIC_ENDINGS = (".heic", ".heif", ".hif")
IMAGE_ENDINGS = _HEIC_ENDINGS + tuple(
    ".png .apng .jpg .jpeg .jpe .jfif .mpo .bmp .dib .gif .tif .tiff .webp .avif .avifs .jp2 .j2k .jpc .jpf .jpx .j2c "
    ".pgm .ppm .pbm .pnm .tga .icb .vda .vst .qoi .pcx .sgi .rgb .rgba .bw .ico".split()
)
# Pictures too, which this loader does not read: beside other images, they must not be left out without a word.
_OTHER_PICTURES = frozenset(
    ".ai .arw .blp .cr2 .cr3 .cur .dcx .dds .dng .emf .eps .exr .fit .fits .flc .fli .fpx .ftc .ftu .gbr .hdr .icns "
    ".im .jxl .jxr .msp .nef .nrw .orf .palm .pcd .pdf .pef .pfm .ps .psb .psd .pxr .raf .ras .raw .rw2 .srw .svg "
    ".svgz .wmf .xbm .xcf .xpm".split()
)
_CLUTTER = ("__MACOSX", "@eaDir")  # left by macOS in zips and by network drives, with small copies of the images
_SPLITS = frozenset(
    "train training trn test testing tst val valid validation dev eval unlabeled unlabelled extra "
    "traina trainb testa testb".split()
)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112  # the tag of EXIF
_SLACK = 1e-3  # floats overshoot 1 by rounding


class Unsuitable(ValueError):
    """An image that is sound, and of which the sentence says what to do."""


def load_image_folder(path, size):
    """Load your own images: a folder of them, or one with a sub-folder for each class.

    Each image is turned upright (EXIF), cut to its central square and scaled (Lanczos). Grey becomes RGB, transparent
    becomes white; of an animation the first frame counts. Of grey deeper than 8 bits, white is 65535 for 16 bits; for
    32 bits and floats, 1 or 255, whichever the values reach. Hidden files and folders are left out, and what is no
    picture by its ending too, with a word.

    Args:
        path: the folder. Its images lie directly in it, or one level down, in sub-folders that are the classes; never
            in both, and never deeper.
        size: height and width of the result, in pixels.

    Returns:
        `images`, uint8 (n, size, size, 3), sorted by name, where they lie directly in the folder. With classes
        `(images, labels)`, class by class, as a conditional GAN's `train` takes them: labels are int64 (n,), the place
        of the class among the sub-folders sorted by name, as `keras.utils.image_dataset_from_directory` counts.
        `sorted(folder.name for folder in Path(path).glob("[!.]*/"))` are the names (but for __MACOSX, which a zip may
        bring, and which is no class). `to_tanh` scales images to [-1, 1].

    Raises:
        ValueError: no such folder; no image in it, or in one of its sub-folders where these are the classes; images
            below others, which would be lost; sub-folders that are parts of a data set (train, test), not classes; a
            size that is no whole number; a picture that cannot be read (named).
    """
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size is {size!r}; it must be a whole number of pixels, at least 1.")
    folder = checked_folder(path)
    files, classes = _entries(folder)
    if any(is_image(file.name) for file in files):
        _refuse_images_below(folder, classes)
        return _read(images_among(files, folder), size)
    files_of_class = []
    for sub_folder in classes:
        inside, below = _entries(sub_folder)
        files_of_class.append([file for file in inside if is_image(file.name)])
        files += inside
        if files_of_class[-1]:
            _refuse_images_below(sub_folder, below)
    if not any(files_of_class):
        raise ValueError(_what_lies_there(folder))
    for sub_folder, images in zip(classes, files_of_class, strict=True):
        if not images:  # left out, it would shift the labels of the classes after it
            deeper = next((file.parent for file in walk(sub_folder) if is_image(file.name)), None)
            raise ValueError(
                f"{sub_folder} holds no images, but each sub-folder of {folder} is a class; put its images directly "
                f"into it, or take it away.{f' There are some deeper, in {deeper}.' if deeper else ''}"
            )
    splits = [sub_folder.name for sub_folder in classes if _SPLITS & set(re.split("[^a-z]+", sub_folder.name.lower()))]
    if len(splits) > 1 or len(splits) == len(classes):
        raise ValueError(
            f"{', '.join(splits)} in {folder} are parts of a data set, not classes: load each by itself, "
            f"load_image_folder({str(folder / splits[-1])!r}, {size}). Two domains, trainA, trainB, testA and testB, "
            "are read by load_domains."
        )
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(images) for images in files_of_class])
    return _read(images_among(files, folder), size), labels


def checked_folder(path):
    """The folder at `path`, or a ValueError that says where it was looked for."""
    if not isinstance(path, (str, PurePath)) or path == "":
        raise ValueError(f"Give the path of a folder, such as 'my_pictures'; given: {path!r:.100}.")
    folder = Path(os.path.expanduser(path))  # as Path's own, which raises where there is no home folder
    if folder.is_dir():
        return folder
    hint = " A file: unpack it, and give the folder." if folder.is_file() else ""
    if any(ord(letter) < 32 for letter in str(path)):
        hint = ' In a string, "\\t" is a tab and "\\n" a line break: write r"data\\train", or "data/train".'
    raise ValueError(
        f"{str(path)!r} is not a folder; give the folder that holds your images. Looked for: "
        f"{os.path.abspath(folder)!r}.{hint}"
    )


def is_clutter(name):
    """Whether a file or folder of this name is hidden, or left by an operating system."""
    return name.startswith(".") or name in _CLUTTER


def walk(folder, above=()):
    """Find all files below a folder, by name, but clutter; links are followed, unless they lead back up."""
    here = os.path.realpath(folder)
    if here in above:
        return
    for entry in sorted(Path(folder).iterdir()):
        if is_clutter(entry.name):
            continue
        if entry.is_dir():
            yield from walk(entry, (*above, here))
        else:
            yield entry


def _entries(folder):
    """The files and the sub-folders of a folder, by name, without clutter."""
    entries = sorted((entry for entry in folder.iterdir() if not is_clutter(entry.name)), key=lambda entry: entry.name)
    folders = [entry for entry in entries if entry.is_dir()]
    return [entry for entry in entries if entry not in folders], folders


def _refuse_images_below(folder, sub_folders):
    for file in (file for sub_folder in sub_folders for file in walk(sub_folder)):
        if is_image(file.name):
            raise ValueError(
                f"{folder} holds images, and so does its sub-folder {file.parent.relative_to(folder)}. Move all of "
                "them directly into one folder; or each into the sub-folder of its class, with none beside these."
            )


def is_image(name):
    """Whether a file's ending is an image's."""
    return name.lower().endswith(IMAGE_ENDINGS)


def images_among(files, place):
    """Those of the files that are images by their endings; the rest is named.

    Args:
        files: paths, or names within an archive.
        place: their folder, for the sentence.

    Raises:
        ValueError: pictures among them that cannot be read.
    """
    others = [file for file in files if not is_image(str(file))]
    pictures = [PurePath(file).name for file in others if PurePath(file).suffix.lower() in _OTHER_PICTURES]
    if pictures:
        raise ValueError(
            f"{place} holds {_named(pictures)}, which this loader does not read: convert to PNG or JPEG, or take away. "
            f"It reads {' '.join(IMAGE_ENDINGS)}."
        )
    if others:
        print(f"{place}: left out {_named([PurePath(file).name for file in others])}, no images by their endings.")
    return [file for file in files if is_image(str(file))]


def _named(names):
    """Some names, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _what_lies_there(folder):
    """Say what there is where images were looked for in vain."""
    deeper = sorted({file.parent for file in walk(folder) if is_image(file.name)})
    if deeper:
        above = deeper[0].parent
        return (
            f"{folder} holds no images, nor does a sub-folder of it; they lie deeper, in "
            f"{_named([str(place.relative_to(folder)) for place in deeper])}. Give the folder above these: "
            f"load_image_folder({str(above)!r}, size)."
        )
    others = [file.name for file in walk(folder)]
    found = f"but {_named(others)}" if others else "but nothing"
    return f"{folder} holds no images ({' '.join(IMAGE_ENDINGS)}), and no folder below it does, {found}."


def _read(files, size):
    images, notes = np.empty((len(files), size, size, 3), np.uint8), Notes()
    for i, file in enumerate(files):
        try:
            images[i] = read_square(file, size, notes)
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ... for bad files
            raise ValueError(way_to_read(error, file)) from error
    notes.say()
    return images


def way_to_read(error, name, place=""):
    """Say what to do about an image that cannot be read; `place`, such as " in pets.zip", follows its name."""
    if isinstance(error, Unsuitable):
        return f"{name}{place}: {error}"
    opening = f"{name}{place} cannot be read as an image ({error})"
    if isinstance(error, Image.DecompressionBombError):
        return f"{opening}: it is too large for Pillow. Scale it down, or take it away."
    if isinstance(error, PermissionError):
        return f"{opening}: give yourself the right to read it."
    if str(name).lower().endswith(_HEIC_ENDINGS) and "HEIF" not in Image.OPEN:
        return (
            f"{opening}: Pillow reads HEIC with a plugin alone. Convert it to JPEG; or pip install pillow-heif, and "
            "call pillow_heif.register_heif_opener() first."
        )
    return (
        f"{opening}: it is damaged, or of a kind that Pillow does not read. Convert it to PNG or JPEG with another "
        "program, or take it away."
    )


class Notes:
    """What is to be said, or compared, once a whole set of images was read."""

    def __init__(self):
        self.deepest, self.pages, self.whites = None, [], {}

    def deep(self, values):
        """A 16-bit image, 0 to 65535."""
        self.deepest = max(self.deepest or 0, int(values.max()))

    def white(self, value, name):
        """An image of floats or of 32 bits, with the value that white has by its range."""
        self.whites.setdefault(value, name)
        if len(self.whites) > 1:
            known = ", ".join(f"{name} ({value})" for value, name in self.whites.items())
            raise Unsuitable(f"what is white? By their ranges images differ: {known}. Save all as 8-bit PNG.")

    def say(self):
        if self.deepest is not None and self.deepest <= 4095:
            print(
                f"The 16-bit images reach {self.deepest} of 65535: nearly black. If white is 4095 (12 bits), save them "
                "as 8-bit images first, values / 4095 * 255."
            )
        if self.pages:
            print(f"More than one page, of which the first counts: {_named(self.pages)}.")


def read_square(file, size, notes):
    """Read an image file: its central square, upright and scaled, without transparency.

    Args:
        file: a path, or a binary file object.
        size: height and width of the result, in pixels.
        notes: the `Notes` of the set.

    Returns:
        uint8 (size, size, 3).

    Raises:
        Exception: whatever Pillow raises for a file that it cannot read, of a dozen kinds.
    """
    Image.init()  # else not all formats are known yet
    with Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
        name = getattr(image, "filename", "") or "an image"
        if image.format == "TIFF" and image.n_frames > 1:
            notes.pages.append(PurePath(name).name)
        _mend_transparency(image)
        image.load()
        turn = _turn(image)
        if image.mode.startswith(("I", "F")):
            image = _eight_bits(image, name, notes)
        if turn is not None:
            image = image.transpose(turn)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS))


def _turn(image):
    """How to turn an image upright, by this one tag: ImageOps.exif_transpose stumbles over others (a GPS of 0/0)."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION))
    except Exception:  # EXIF that nobody can read says nothing; the picture is sound
        return None


def _mend_transparency(image):
    """Bring a PNG's transparent colour, which is in the file's depth, to the 8 bits that Pillow compares it with."""
    colour = image.info.get("transparency")
    if image.format != "PNG" or colour is None or not image.tile:
        return
    depth = image.tile[0][3]
    if depth in ("L;2", "L;4"):
        image.info["transparency"] = colour * {"L;2": 85, "L;4": 17}[depth]
    elif depth == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _eight_bits(image, name, notes):
    """Grey of 16 or 32 bits or floats as 8 bits: Pillow's own convert would cut off what is above 255."""
    values, white = np.asarray(image), 65535
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):  # these two mean 16 bits
        smallest, largest = float(values.min()), float(values.max())
        whites = (1, 255) if image.mode == "F" else (1, 255, 65535)
        if not (smallest >= -_SLACK and largest <= whites[-1] + _SLACK):  # written so that nan fails too
            raise Unsuitable(
                f"its grey values run from {smallest:.4g} to {largest:.4g}; 0 to 1 and 0 to {whites[-1]} are "
                "understood. Save it as an 8-bit PNG, black as 0 and white as 255."
            )
        white = next(white for white in whites if largest <= white + _SLACK)
        if largest > 0:
            notes.white(white, name)
    if white == 65535:
        notes.deep(values)
    grey = Image.fromarray(np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey
