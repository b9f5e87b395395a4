"""A folder of your own pictures as a data set."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

IMAGE_ENDINGS = tuple(".png .jpg .jpeg .jfif .bmp .gif .tif .tiff .webp .avif .heic .heif".split())


def load_image_folder(path, size):
    """Load your own images: a folder of them, or one with a sub-folder for each class.

    Each image is turned upright (EXIF), cut to its central square and scaled (Lanczos). Grey becomes RGB, transparent
    becomes white; of an animation the first frame counts. Hidden files and folders, and files without an image's
    ending, are left out.

    Args:
        path: the folder. Its images lie directly in it, or one level down, in sub-folders that are the classes; never
            in both, and never deeper.
        size: height and width of the result, in pixels.

    Returns:
        `images`, uint8 (n, size, size, 3), sorted by name, where they lie directly in the folder. With classes
        `(images, labels)`, class by class, as a conditional GAN's `train` takes them: labels are int64 (n,), the place
        of the class among the sub-folders sorted by name, as `keras.utils.image_dataset_from_directory` counts.
        `sorted(folder.name for folder in Path(path).glob("[!.]*/"))` are the names. `to_tanh` scales images to
        [-1, 1].

    Raises:
        ValueError: no such folder; no image in it, or in one of its sub-folders where these are the classes; images
            below others, which would be lost; a size that is no whole number; an image that cannot be read (named).
    """
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size is {size!r}; it must be a whole number of pixels, at least 1.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give load_image_folder the folder that holds your images.")
    files, classes = _entries(folder)
    if files:
        return _read(files, size)
    files_of_class = [_entries(sub_folder)[0] for sub_folder in classes]
    if not any(files_of_class):
        raise ValueError(f"{folder} holds no images ({' '.join(IMAGE_ENDINGS)}), and no sub-folder of it does.")
    for sub_folder, files in zip(classes, files_of_class, strict=True):
        if not files:  # left out, it would shift the labels of the classes after it
            raise ValueError(
                f"{sub_folder} holds no images, but each sub-folder of {folder} is a class; put its images directly "
                "into it, or take it away."
            )
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in files_of_class])
    return _read([file for files in files_of_class for file in files], size), labels


def _entries(folder):
    """The image files and the sub-folders of a folder, by name, none hidden; refuses images below its images."""
    entries = sorted((entry for entry in folder.iterdir() if entry.name[0] != "."), key=lambda entry: entry.name)
    files = [entry for entry in entries if _is_image(entry)]
    folders = [entry for entry in entries if entry.is_dir()]
    for sub_folder in folders if files else ():
        for file in sub_folder.rglob("*"):
            if _is_image(file) and not any(part[0] == "." for part in file.relative_to(folder).parts):
                raise ValueError(
                    f"{folder} holds images, and so does its sub-folder {file.parent.relative_to(folder)}. Move all of "
                    "them directly into one folder; or each into the sub-folder of its class, with none beside these."
                )
    return files, folders


def _is_image(file):
    return file.suffix.lower() in IMAGE_ENDINGS and file.is_file()


def _read(files, size):
    images = np.empty((len(files), size, size, 3), np.uint8)
    for i, file in enumerate(files):
        try:
            images[i] = read_square(file, size)
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ... for bad files
            raise ValueError(f"{file} cannot be read as an image ({error}); repair it or take it away.") from error
    return images


def read_square(file, size):
    """Read an image file: its central square, upright and scaled, without transparency.

    Args:
        file: a path, or a binary file object.
        size: height and width of the result, in pixels.

    Returns:
        uint8 (size, size, 3).

    Raises:
        Exception: whatever Pillow raises for a file that it cannot read, of a dozen kinds.
    """
    with Image.open(file) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16-bit grey, which convert("RGB") would clip to white
            image = Image.fromarray(np.rint(np.clip(np.asarray(image), 0, 65535) / 257).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS))
