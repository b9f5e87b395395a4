"""A folder of your own pictures as a data set."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

IMAGE_ENDINGS = tuple(".png .jpg .jpeg .jfif .bmp .gif .tif .tiff .webp .avif .heic .heif".split())


def load_image_folder(path, size):
    """Your own images: every image file of a folder, sorted by name, as uint8 (n, size, size, 3).

    Each is turned upright (EXIF), cut to its central square and scaled (Lanczos). Grey becomes RGB, transparent becomes
    white. Sub-folders, hidden files and files without an image's ending are left out; of an animation the first frame
    counts. For training: `images / 127.5 - 1`, as float32.

    ValueError: no such folder, no image in it, a size that is no whole number, an image that cannot be read (named).
    """
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"size is {size!r}; it must be a whole number of pixels, at least 1.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give load_image_folder the folder that holds your images.")
    images = (f for f in folder.iterdir() if f.suffix.lower() in IMAGE_ENDINGS and f.name[0] != "." and f.is_file())
    files = sorted(images, key=lambda f: f.name)
    if not files:
        raise ValueError(f"{folder} holds no images ({' '.join(IMAGE_ENDINGS)}); sub-folders are not searched.")
    images = np.empty((len(files), size, size, 3), np.uint8)
    for i, file in enumerate(files):
        try:
            images[i] = read_square(file, size)
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, ... for bad files
            raise ValueError(f"{file} cannot be read as an image ({error}); repair it or take it away.") from error
    return images


def read_square(file, size):
    with Image.open(file) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16-bit grey, which convert("RGB") would clip to white
            image = Image.fromarray(np.rint(np.clip(np.asarray(image), 0, 65535) / 257).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS))
