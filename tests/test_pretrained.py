import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from keras_gen import DataUnavailable, generate_latent_points, load_dataset
from keras_gen import pretrained as module
from keras_gen.pretrained import define_face_generator, load_pretrained, save_pretrained


@pytest.mark.every_backend
def test_the_generator_draws_faces():
    generator = load_pretrained("faces_generator")
    assert {weight.dtype for weight in generator.weights} == {"float32"}
    np.random.seed(0)
    images = generator.predict(generate_latent_points(100, 500), verbose=0)
    assert images.shape == (500, 32, 32, 3) and -1 <= images.min() < -0.8 and 0.8 < images.max() <= 1
    real = load_dataset("faces")[1][0][:500] / 127.5 - 1
    for statistic in (np.mean, np.std):  # of each pixel: the same layout, and as much variety
        ours, theirs = statistic(images, axis=0), statistic(real, axis=0)
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.8
        assert np.abs(ours - theirs).mean() < 0.15


@pytest.mark.every_backend
def test_the_vae_finds_faces_again_and_its_code_says_what_they_are():
    vae = load_pretrained("faces_vae")
    x, labels = load_dataset("faces")[1]
    x = x[:600] / np.float32(255)
    variance = np.mean((x - x.mean(axis=0)) ** 2)
    assert np.mean((vae.predict(x, verbose=0) - x) ** 2) < variance / 15
    codes, _ = vae.encoder.predict(x, verbose=0)
    for bit in range(4):  # smiling, glasses, man, old: chance is one half
        attribute = labels[:600] >> bit & 1
        reader = LogisticRegression().fit(codes[:400], attribute[:400])
        assert reader.score(codes[400:], attribute[400:]) > 0.95


def test_the_files_are_small():
    files = list(module.FOLDER.iterdir())
    assert sorted(path.name for path in files) == [f"{name}.npz" for name in sorted(module.PRETRAINED)]
    assert sum(path.stat().st_size for path in files) < 4e6
    for path in files:
        with np.load(path) as weights:
            assert {weights[name].dtype for name in weights.files} == {np.dtype("float16")}


def test_saved_and_loaded_it_is_the_same_up_to_rounding(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    generator = define_face_generator()
    save_pretrained(generator, tmp_path / "faces_generator.npz")
    for loaded, weight in zip(load_pretrained().get_weights(), generator.get_weights(), strict=True):
        assert np.array_equal(loaded, weight.astype("float16"))


def test_what_cannot_be_loaded(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'cats'; there are: faces_generator, faces_vae"):
        load_pretrained("cats")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with pytest.raises(DataUnavailable, match="missing or damaged"):
        load_pretrained()
    (tmp_path / "faces_generator.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(DataUnavailable, match="damaged"):
        load_pretrained()
