"""The benchmark's GANs in PyTorch: layer for layer those of Keras, trained in PyTorch's usual, eager way."""

from itertools import pairwise

import torch
from torch import nn


def define_dcgan(latent_dim, width):
    d_layers, channels = [nn.Conv2d(3, width // 2, 3, padding=1), nn.LeakyReLU(0.2)], width // 2
    for filters in (width, width, 2 * width):
        d_layers += [nn.Conv2d(channels, filters, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels = filters
    d_layers += [nn.Flatten(), nn.Dropout(0.4), nn.Linear(4 * 4 * channels, 1), nn.Sigmoid()]

    g_layers, channels = [nn.Linear(latent_dim, 4 * 4 * 2 * width), nn.LeakyReLU(0.2)], 2 * width
    g_layers += [nn.Unflatten(1, (channels, 4, 4))]
    for _ in range(3):
        g_layers += [nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels = width
    g_layers += [nn.Conv2d(channels, 3, 3, padding=1), nn.Tanh()]
    return nn.Sequential(*g_layers), nn.Sequential(*d_layers)


def define_dense_gan(latent_dim, width):
    def dense(*sizes):
        return [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.LeakyReLU(0.2))]

    g_layers = [*dense(latent_dim, 2 * width, 4 * width), nn.Linear(4 * width, 784), nn.Tanh()]
    d_layers = [nn.Flatten(), *dense(784, 4 * width, 2 * width), nn.Linear(2 * width, 1), nn.Sigmoid()]
    return nn.Sequential(*g_layers, nn.Unflatten(1, (1, 28, 28))), nn.Sequential(*d_layers)


def count_params(model):
    return sum(weight.numel() for weight in model.parameters())


def torch_loop(g_model, d_model, images, latent_dim, n_batch):
    """(d) A loop as in loops.py. `images`: float32 NumPy, `(n, height, width, channels)`; kept channels first here."""
    images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    n_steps, half_batch = len(images) // n_batch, n_batch // 2
    bce = nn.BCELoss()
    d_optimizer = torch.optim.Adam(d_model.parameters(), lr=2e-4, betas=(0.5, 0.999))
    g_optimizer = torch.optim.Adam(g_model.parameters(), lr=2e-4, betas=(0.5, 0.999))
    ones, zeros, inverted = torch.ones(half_batch, 1), torch.zeros(half_batch, 1), torch.ones(n_batch, 1)

    def learn(optimizer, p, y):
        loss = bce(p, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item(), ((p > 0.5) == y).float().mean().item()

    def loop(tick):
        for _ in range(n_steps):
            d_model.requires_grad_(True)
            x_real = images[torch.randint(len(images), (half_batch,))]
            d_loss_real, d_acc_real = learn(d_optimizer, d_model(x_real), ones)
            with torch.no_grad():
                x_fake = g_model(torch.randn(half_batch, latent_dim))
            d_loss_fake, d_acc_fake = learn(d_optimizer, d_model(x_fake), zeros)

            d_model.requires_grad_(False)  # the generator's step does not ask for the slopes of these weights
            g_loss, _ = learn(g_optimizer, d_model(g_model(torch.randn(n_batch, latent_dim))), inverted)
            tick([d_loss_real, d_loss_fake, g_loss, d_acc_real, d_acc_fake])

    return loop
