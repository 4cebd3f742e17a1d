import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from aelib.scores import kept_by_frequency, psnr, psnr_from_errors, squared_errors


@pytest.fixture
def pair(rng):
    images = rng.random((40, 16, 16, 3))
    return images, np.clip(images + 0.1 * rng.standard_normal(images.shape), 0, 1)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_psnr_agrees_with_scikit_image(pair):
    images, copies = pair
    assert psnr(images, copies).value == pytest.approx(
        peak_signal_noise_ratio(images, copies, data_range=1.0)
    )


def test_standard_error_of_psnr_agrees_with_the_bootstrap(rng):
    images = np.zeros((300, 4, 4, 3))
    copies = images + rng.gamma(2.0, 0.05, (300, 1, 1, 1))
    errors = squared_errors(images, copies)
    resampled = [-10 * np.log10(rng.choice(errors, 300).mean()) for _ in range(2000)]
    # 2000 resamples give the standard deviation to about 1.6 %; the delta method adds a little.
    assert psnr(images, copies).standard_error == pytest.approx(np.std(resampled), rel=0.1)


def test_exact_copies_are_infinitely_good(pair):
    assert psnr(pair[0], pair[0]) == (np.inf, 0.0)


def test_a_single_image_has_no_standard_error(pair):
    assert np.isnan(psnr(pair[0][:1], pair[1][:1]).standard_error)


@pytest.mark.parametrize("score", [psnr, squared_errors, kept_by_frequency])
def test_shapes_must_agree(score, pair):
    with pytest.raises(ValueError, match="one shape"):
        score(pair[0], pair[1][:-1])


def test_frequencies_need_square_images(rng):
    with pytest.raises(ValueError, match=r"shape \(n, s, s, c\)"):
        kept_by_frequency(rng.random((3, 8, 6, 3)), rng.random((3, 8, 6, 3)))


def low_passed(images, highest):
    spectrum = np.fft.fft2(images, axes=(1, 2))
    f = np.fft.fftfreq(images.shape[1])
    spectrum[:, np.hypot(*np.meshgrid(f, f)) >= highest] = 0
    return np.fft.ifft2(spectrum, axes=(1, 2)).real


def test_kept_by_frequency_sees_a_low_pass(rng):
    images = rng.random((10, 96, 96, 3))
    kept = kept_by_frequency(images, low_passed(images, 0.25), bands=8)
    # The window mixes the two bands at the filter's edge. Beyond it nothing is kept; as the mean image explains a part
    # of the images that it is the mean of, that is 1 - n / (n - 1).
    np.testing.assert_allclose(kept[:3], 1.0, atol=1e-6)
    np.testing.assert_allclose(kept[5:], 1 - 10 / 9, atol=0.02)
    assert -1 / 9 < kept[4] < kept[3] < 1


def test_a_jump_between_opposite_borders_is_not_fine_structure(rng):
    ramp = np.linspace(0, 1, 64)[None, :, None, None] * rng.random((12, 1, 1, 3))
    grain = 0.02 * (rng.random((12, 64, 64, 3)) - 0.5)
    assert kept_by_frequency(grain, grain).tolist() == [1.0] * 12
    kept = kept_by_frequency(ramp + grain, np.broadcast_to(ramp, grain.shape), bands=8)
    assert kept[0] > 0.999
    np.testing.assert_allclose(kept[2:], 1 - 12 / 11, atol=0.05)


def test_the_mean_image_keeps_nothing(rng):
    images = rng.random((10, 16, 16, 3))
    np.testing.assert_allclose(
        kept_by_frequency(images, np.broadcast_to(images.mean(axis=0), images.shape)), 0.0, atol=1e-12
    )


def test_equal_images_are_refused():
    images = np.full((3, 8, 8, 3), 0.5)
    with pytest.raises(ValueError, match="differ from each other"):
        kept_by_frequency(images, images)


@pytest.mark.parametrize("errors", [[], [0.1, -0.1], [np.nan], [np.inf]])
def test_impossible_errors_are_refused(errors):
    with pytest.raises(ValueError, match="at least 0"):
        psnr_from_errors(np.array(errors, dtype=float))
