import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from models import LATENT_DIM, define_generator
from PIL import Image
from scipy.stats import norm
from test_gan import make_dataset, make_gan

from keras_gen import SampleGrid, plot_history, save_gif, show_film_strip, show_grid, show_source, tile_images, train
from keras_gen.plots import plot_latent_grid


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


@pytest.mark.parametrize("zoom", [2, 2.5])
def test_texts_around_a_grid_are_whole_and_take_no_room_from_the_pictures(monkeypatch, zoom):
    monkeypatch.setattr(plt, "show", lambda: None)
    show_grid(np.zeros((30, 32, 32, 1), "uint8"), 10, "title", ["given", "found", "with a long smile"], zoom)
    canvas = plt.gcf().canvas
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    assert (pixels[:, [0, 1, -2, -1]] == 255).all(), "white margins"
    black_rows = (pixels[:, -20] == 0).all(axis=1)
    black_columns = (pixels[-20] == 0).all(axis=1)
    assert abs(black_rows.sum() - 3 * 32 * zoom) <= 4 and abs(black_columns.sum() - 10 * 32 * zoom) <= 12
    text = (pixels[:, :-20] < 128).any(axis=(0, 2)).argmax()  # the first column with ink
    assert 3 <= text <= 6


def latent_painter(*columns, scale=1):
    """A decoder whose 2x3 images have the normal CDF of z[columns[i]] in channel i: quantiles come back as levels."""
    z = keras.Input((3,))
    cdf = keras.layers.Lambda(lambda z: scale * 0.5 * (1 + keras.ops.erf(z / 2**0.5)))(z)
    pixel = keras.layers.Concatenate()([cdf[:, c : c + 1] for c in columns])
    return keras.Model(z, keras.layers.Reshape((2, 3, len(columns)))(keras.layers.RepeatVector(6)(pixel)))


def test_latent_grid_lies_over_gaussian_quantiles(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    plot_latent_grid(latent_painter(0, 2, 1), n=4, dims=(2, 0), center=[9, norm.ppf(0.3), 9], title="plane")
    (axes,) = shown[0].axes
    levels = axes.images[0].get_array() / 255
    assert levels.shape == (8, 12, 3)
    eighths = np.array([1, 3, 5, 7]) / 8
    np.testing.assert_allclose(levels[0, ::3, 1], eighths, atol=1 / 255)  # z[2] to the right
    np.testing.assert_allclose(levels[::-2, 0, 0], eighths, atol=1 / 255)  # z[0] upwards
    np.testing.assert_allclose(levels[..., 2], 0.3, atol=1 / 255)  # the third stays
    assert axes.get_title() == "plane" and (axes.get_xlabel(), axes.get_ylabel()) == ("z[2]", "z[0]")
    # A tick's text is the latent value at the middle of its column or row.
    assert [t.get_text() for t in axes.get_xticklabels()] == [f"{z:.1f}" for z in norm.ppf(eighths)]
    assert axes.get_xticks()[0] == 1 and axes.get_yticks()[0] == 6.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1}, "n is 1"),
        ({"dims": (0, 3)}, "from 0 to 2"),
        ({"dims": (1, 1)}, "two different"),
        ({"center": [0, 0]}, r"\(2,\)"),
        ({"scale": 1.5}, r"to 1\.2\d; wanted is \[0, 1\]"),
    ],
)
def test_latent_grid_says_what_is_wrong(arguments, message):
    decoder = latent_painter(0, scale=arguments.pop("scale", 1))
    with pytest.raises(ValueError, match=message):
        plot_latent_grid(decoder, **{"n": 3, **arguments})


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
