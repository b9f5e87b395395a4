"""Points of a plane whose density is known: what a GAN, a mixture or a flow does with them can be seen and counted."""

import numpy as np

RING_MODES = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)


def sample_ring(*shape, std=0.05):
    """Draw from eight dots on a circle of radius 1, all equally likely (Metz et al. 2017, with radius 2 and std 0.02).

    Args:
        shape: how many points, such as `sample_ring(100)` or, for networks side by side, `sample_ring(100, 3)`.
        std: the standard deviation of a dot, in either direction.

    Returns:
        float32 `(*shape, 2)`, drawn by NumPy's global generator. The dots' centres are `RING_MODES`, `(8, 2)`.
    """
    centres = RING_MODES[np.random.randint(0, len(RING_MODES), shape)]
    return (centres + std * np.random.standard_normal((*shape, 2))).astype("float32")
