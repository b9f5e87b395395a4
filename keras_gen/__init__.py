"""Generative models with Keras 3: what the notebooks of the course share.

Reading order: latent, gan, cyclegan, callbacks, runs; vae; judge, metrics; directions, pretrained; data, folder,
domains; faces, fruits, shapes; plots; checks and cyclegan_checks last.
"""

from .callbacks import PrintProgress, SampleGrid, StopOnNonFinite
from .cyclegan import ImagePool, define_composite_model, train_cyclegan
from .data import DataUnavailable, load_dataset, load_real_samples, to_uint8
from .directions import attribute_directions, invert_generator
from .domains import load_domains
from .faces import FACE_CLASSES, draw_faces, face_classes, sample_face_attributes
from .folder import load_image_folder
from .fruits import draw_fruits, sample_fruit_attributes
from .gan import (
    averaged_generator,
    define_gan,
    generate_fake_samples,
    generate_real_samples,
    summarize_performance,
    train,
    train_discriminator,
)
from .judge import Judge, judge_features, predict_labels, train_judge
from .latent import generate_latent_points, interpolate_points
from .metrics import (
    attribute_accuracy,
    feature_distance,
    frechet_distance,
    label_accuracy,
    memorisation_ratio,
    mode_coverage,
    nearest_neighbours,
    precision_recall,
)
from .plots import (
    plot_history,
    plot_latent_grid,
    save_gif,
    show_film_strip,
    show_grid,
    show_pictures,
    show_source,
    tile_images,
)
from .pretrained import load_pretrained
from .runs import SaveRun, load_run
from .vae import VAE, Sampling, binarize, define_vae, elbo, iwae_bound, reconstruction_loss

__all__ = [
    "FACE_CLASSES",
    "VAE",
    "DataUnavailable",
    "ImagePool",
    "Judge",
    "PrintProgress",
    "SampleGrid",
    "Sampling",
    "SaveRun",
    "StopOnNonFinite",
    "attribute_accuracy",
    "attribute_directions",
    "averaged_generator",
    "binarize",
    "define_composite_model",
    "define_gan",
    "define_vae",
    "draw_faces",
    "draw_fruits",
    "elbo",
    "face_classes",
    "feature_distance",
    "frechet_distance",
    "generate_fake_samples",
    "generate_latent_points",
    "generate_real_samples",
    "interpolate_points",
    "invert_generator",
    "iwae_bound",
    "judge_features",
    "label_accuracy",
    "load_dataset",
    "load_domains",
    "load_image_folder",
    "load_pretrained",
    "load_real_samples",
    "load_run",
    "memorisation_ratio",
    "mode_coverage",
    "nearest_neighbours",
    "plot_history",
    "plot_latent_grid",
    "precision_recall",
    "predict_labels",
    "reconstruction_loss",
    "sample_face_attributes",
    "sample_fruit_attributes",
    "save_gif",
    "show_film_strip",
    "show_grid",
    "show_pictures",
    "show_source",
    "summarize_performance",
    "tile_images",
    "to_uint8",
    "train",
    "train_cyclegan",
    "train_discriminator",
    "train_judge",
]
