import matplotlib.pyplot as plt
import numpy as np
import pytest
from models import LATENT_DIM, define_generator
from PIL import Image
from test_gan import make_dataset, make_gan

from keras_gen import SampleGrid, plot_history, save_gif, show_film_strip, show_grid, show_source, tile_images, train


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_lie_row_by_row_between_white_lines(channels):
    images = np.arange(6, dtype="uint8")[:, None, None, None] * np.ones((1, 2, 3, channels), "uint8")
    grid = tile_images(images, n_columns=4)
    assert grid.shape == (5, 15, channels)
    assert [grid[0, 4 * i, 0] for i in range(4)] == [0, 1, 2, 3]
    assert [grid[3, 4 * i, 0] for i in range(4)] == [4, 5, 255, 255]
    assert np.all(grid[2] == 255) and np.all(grid[:, 3] == 255)


def test_floats_become_pixels():
    assert set(np.unique(tile_images(np.full((1, 2, 2, 1), -1.0)))) == {0}
    with pytest.raises(ValueError, match=r"\(4, 8, 8\)"):
        tile_images(np.zeros((4, 8, 8), "uint8"))
    with pytest.raises(ValueError, match=r"\(0, 8, 8, 1\)"):
        tile_images(np.zeros((0, 8, 8, 1), "uint8"))


def test_grids_draw(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    show_grid(np.zeros((6, 8, 8, 3), "uint8"), n_columns=3, title="six", row_titles=["first", "second"])
    axes = shown[0].axes[0]
    assert axes.get_title() == "six" and [t.get_text() for t in axes.get_yticklabels()] == ["first", "second"]
    show_film_strip([np.zeros((8, 8, 1), "uint8")] * 3, ["a", "b", "c"])
    assert [axes.get_title() for axes in shown[1].axes] == ["a", "b", "c"]


def test_sample_grid_and_history_and_gif(tmp_path):
    models = make_gan()
    film = SampleGrid(models[0], np.ones((6, LATENT_DIM), "float32"), n_columns=3)
    history = train(*models, make_dataset(), LATENT_DIM, 3, 64, callbacks=[film])
    assert film.epochs == [0, 1, 2, 3] and film.frames[0].shape == (17, 26, 1)
    assert not np.array_equal(film.frames[0], film.frames[3])
    losses, accuracies = plot_history(history)
    assert [line.get_label() for line in losses.lines] == ["d_loss_fake", "d_loss_real", "g_loss"]
    assert list(losses.lines[0].get_xdata()) == [1, 2, 3] and len(accuracies.lines) == 2
    save_gif(film.frames, tmp_path / "film.gif", zoom=2)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.n_frames == len({frame.tobytes() for frame in film.frames}) and gif.size == (52, 34)
        assert gif.info["loop"] == 0
    with pytest.raises(ValueError, match="no frame"):
        save_gif([], tmp_path / "film.gif")


def test_show_source_shows_the_code_that_runs(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    show_source(define_generator)
    assert shown[0].data.startswith("```python\ndef define_generator(n_classes=None):\n")
