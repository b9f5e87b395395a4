"""README's table of notebooks and its pictures, written from what the published notebooks hold.

`python run.py readme` calls it; a test holds README and stamps together.
"""

import base64
import re
from pathlib import Path

import colab
import nbformat
import numpy as np
from PIL import Image

from keras_gen import draw_faces, load_pretrained, sample_face_attributes, save_gif, tile_images, to_uint8

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "pictures"
TABLE = re.compile(r"(<!-- results:.*?-->\n).*?(<!-- end of results -->)", re.DOTALL)

# What README says of a notebook's RESULTS.
RESULTS = {
    "01_autoencoders": "squared error of 30 numbers **{autoencoder_squared_error:.2f}** (PCA {pca_squared_error:.2f});"
    " denoising **{denoising_mse:.4f}** (linear {linear_denoising_mse:.4f});"
    " half of the pixels masked **{inpainting_mse[autoencoder]:.4f}** (OpenCV {inpainting_mse[Navier-Stokes]:.4f})",
    "02_vae": "negative ELBO **{negative_elbo:.1f}** nats, with 50 samples **{iwae_50:.1f}**",
    "03_dcgan_cifar10": "feature distance **{feature_distance:.0f}** (two other seeds"
    " {feature_distance_seeds[1]:.0f} and {feature_distance_seeds[2]:.0f}), with averaged weights"
    " **{feature_distance_averaged:.0f}** ({feature_distance_averaged_seeds[1]:.0f} and"
    " {feature_distance_averaged_seeds[2]:.0f}; real {feature_distance_floor:.1f},"
    " untrained {feature_distance_untrained:.0f});"
    " D is right on {d_acc_real:.0%} of real and {d_acc_fake:.0%} of fake images",
    "04_conditional_gan": "draws the digit asked for in **{label_accuracy:.1%}** of cases, with averaged weights"
    " **{label_accuracy_averaged:.1%}** (worst of three seeds {label_accuracy_worst_seed:.1%} and"
    " {label_accuracy_averaged_worst_seed:.1%}; the lecture's D {label_accuracy_lecture:.1%}; real images"
    " {judge_accuracy:.1%}); feature distance **{feature_distance:.1f}** and **{feature_distance_averaged:.1f}**"
    " (real {feature_distance_floor:.1f}, untrained {feature_distance_untrained:.0f})",
    "05_latent_space": "arithmetic with ten points succeeds for a smile in **{arithmetic_success[smiling]:.0%}** of"
    " trials, glasses **{arithmetic_success[glasses]:.0%}**, gender **{arithmetic_success[man]:.0%}**,"
    " age **{arithmetic_success[old]:.0%}**; in a VAE's codes {vae_arithmetic_success[smiling]:.0%},"
    " {vae_arithmetic_success[glasses]:.0%}, {vae_arithmetic_success[man]:.0%}, {vae_arithmetic_success[old]:.0%}",
    "06_cyclegan": "fruits: L1 to the true partner **{l1_to_partner:.3f}** (best baseline {l1_best_baseline:.3f});"
    " **{judged_target:.0%}** judged to be oranges",
}


def row(path):
    """The line of one published notebook; it needs a title, a stamp and a cell tagged `picture`."""
    notebook = nbformat.read(path, as_version=4)
    stamp = notebook.metadata.keras_gen
    title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
    made = f"{stamp.data_set}, {stamp.seconds / 60:.0f} min, {stamp.device}"
    picture = f"[![{title}](pictures/{path.stem}.jpg)](notebooks/{path.name})"
    result = RESULTS[path.stem].format(**stamp.results)
    link = f"[{path.stem}](notebooks/{path.name})<br>{title}"
    return f"| {link} | {picture} | {made} | {result} | {colab.badge(path.name)} |"


def with_table(text, paths):
    """README's text with the table of these notebooks."""
    head = "| notebook | result | made with | score | |\n|---|---|---|---|---|\n"
    rows = "".join(row(path) + "\n" for path in paths)
    return TABLE.sub(lambda match: match[1] + "\n" + head + rows + "\n" + match[2], text)


def write_pictures(paths):
    """Each notebook's picture out of its outputs, and the row of drawn faces above the title."""
    PICTURES.mkdir(exist_ok=True)
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        cell = next(cell for cell in notebook.cells if "picture" in cell.metadata.get("tags", []))
        data = next(output.data for output in cell.outputs if "image/jpeg" in output.get("data", {}))
        (PICTURES / f"{path.stem}.jpg").write_bytes(base64.b64decode(data["image/jpeg"]))
    faces = draw_faces(sample_face_attributes(24, seed=11), size=96)
    Image.fromarray(tile_images(faces, n_columns=12, gap=2)).save(PICTURES / "faces.png", optimize=True)
    save_gif(walks(n=12, n_frames=24), PICTURES / "walk.gif", seconds=0.15, hold=0.15)


def walks(n, n_frames):
    """Frames: a row of n faces, each on its way around a great circle in the latent space."""
    planes = np.linalg.qr(np.random.default_rng(5).normal(size=(n, 100, 2)))[0]  # two perpendicular unit vectors each
    angles = np.linspace(0, 2 * np.pi, n_frames, endpoint=False)
    generator = load_pretrained("faces_generator")
    points = [10 * planes @ (np.cos(angle), np.sin(angle)) for angle in angles]  # 10: the norm of 100 numbers
    return [tile_images(to_uint8(generator.predict_on_batch(z.astype("float32"))), n_columns=n) for z in points]


def write(paths):
    write_pictures(paths)
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8"), paths), encoding="utf-8")
