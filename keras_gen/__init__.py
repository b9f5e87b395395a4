"""Generative models with Keras 3: what the notebooks of the course share. README names its files in reading order."""

import types

from .callbacks import PrintProgress, StopOnNonFinite
from .codes import GumbelSoftmax, VectorQuantizer, straight_through
from .cyclegan import ImagePool, define_composite_model, train_cyclegan
from .data import (
    FACE_CLASSES,
    RING_MODES,
    draw_faces,
    draw_fruits,
    face_classes,
    load_dataset,
    load_domains,
    load_image_folder,
    load_real_samples,
    sample_face_attributes,
    sample_fruit_attributes,
    sample_ring,
    sample_toy,
    toy_log_density,
)
from .diffusion import noise_levels, noised, sample_diffusion
from .files import DataUnavailable
from .flows import Couplings, bits_per_dim, dequantize, squeeze, unsqueeze
from .gan import (
    averaged_generator,
    define_gan,
    generate_fake_samples,
    generate_real_samples,
    summarize_performance,
    train,
    train_discriminator,
)
from .gradients import gradient
from .images import to_tanh, to_uint8, to_unit
from .judge import Judge, judge_features, load_judge, predict_labels, train_judge
from .latent import attribute_directions, generate_latent_points, interpolate_points, invert_generator
from .layers import GradientPenalty
from .loop import loop, train_only, train_step
from .masked import MaskedDense, made_masks, sample_pixels, sees
from .metrics import (
    attribute_accuracy,
    class_variety,
    clustering_accuracy,
    confident_share,
    feature_distance,
    frechet_distance,
    label_accuracy,
    memorisation_ratio,
    mode_coverage,
    nearest_neighbours,
    precision_recall,
)
from .plots import (
    SampleGrid,
    plot_history,
    plot_latent_grid,
    save_gif,
    show_film_strip,
    show_grid,
    show_pictures,
    tile_images,
)
from .pretrained import load_pretrained, read_recipe
from .runs import SaveRun
from .vae import VAE, Sampling, binarize, define_vae, elbo, iwae_bound, reconstruction_loss

__version__ = "0.1.0"
__all__ = sorted(name for name, value in vars().items() if name[0] != "_" and not isinstance(value, types.ModuleType))
