"""The data sets of the course: real ones, two domains, your own pictures, and drawn ones of which everything is known.

Images are uint8 (n, height, width, channels) wherever nothing else is said. Reading order: sets, domains, folder;
faces, fruits and the shapes that both are painted with; toys.
"""

from .domains import load_domains
from .faces import FACE_CLASSES, draw_faces, face_classes, sample_face_attributes
from .folder import load_image_folder
from .fruits import draw_fruits, sample_fruit_attributes
from .sets import load_dataset, load_real_samples
from .toys import RING_MODES, sample_ring, sample_toy, toy_log_density

__all__ = [
    "FACE_CLASSES",
    "RING_MODES",
    "draw_faces",
    "draw_fruits",
    "face_classes",
    "load_dataset",
    "load_domains",
    "load_image_folder",
    "load_real_samples",
    "sample_face_attributes",
    "sample_fruit_attributes",
    "sample_ring",
    "sample_toy",
    "toy_log_density",
]
