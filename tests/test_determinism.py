"""What the page on robustness calls the same, bit for bit, is so here; what it calls equal to rounding is within it."""

import numpy as np
import pytest

from robustness import determinism, probes
from robustness.determinism import Setting, compute, difference

EPS = float(np.finfo(np.float64).eps)
PROBES = {probe.name: probe for probe in probes.probes()}
EXACT_BY_ANOTHER_WAY = [
    name for name, probe in PROBES.items() if probe.again and name not in ("moments", "encode", "decode")
]
QUICK = [
    name
    for name, probe in PROBES.items()
    if not probe.keras and name not in ("t-SNE map", "tests of normality")
]
ANYWHERE = ("factors", "rendered images", "splits", "decoded photographs", "notebooks' parameters")


def forgotten():
    """Forget what was computed before."""
    for function in (probes.faces, probes.cloud, probes._trained, probes._untrained):
        function.cache_clear()


def test_a_difference_is_seen_to_the_last_bit():
    a = np.array([1.0, 2.0, 4.0])
    assert difference(a, a.copy()) == 0.0
    assert difference(np.nextafter(a, 9.0), a) == pytest.approx(4 * EPS / a.std())
    assert difference(np.array([0.0]), np.array([-0.0])) > 0
    for other in (a[:2], a.astype(np.float32), np.array(["a", "b", "c"])):
        assert difference(other, a) == np.inf
    assert difference(np.array(["a", "c"]), np.array(["a", "b"])) == np.inf


@pytest.mark.parametrize("name", QUICK)
def test_twice_is_the_same(name):
    forgotten()
    first = PROBES[name].result()
    forgotten()
    assert difference(PROBES[name].result(), first) == 0.0


@pytest.mark.parametrize("name", EXACT_BY_ANOTHER_WAY)
def test_by_another_way_it_is_the_same(name):
    assert difference(PROBES[name].again(), PROBES[name].result()) == 0.0


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_training_twice_ends_with_the_same_weights(precision):
    first = PROBES[f"training, {precision}: weights"].result()
    forgotten()
    assert difference(PROBES[f"training, {precision}: weights"].result(), first) == 0.0


@pytest.mark.parametrize("name", ["encode", "decode"])
def test_batches_change_networks_answers_by_rounding_alone(name):
    # Two layers of sums of at most 16 x 9 and 1024 products, in single precision.
    assert difference(PROBES[name].again(), PROBES[name].result()) < 1024 * np.finfo(np.float32).eps


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Results of a process with one core and BLAS kernels of an old processor."""
    setting = Setting("", {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}, one_core=True)
    return compute(tmp_path_factory.mktemp("elsewhere"), setting, keras=False)


@pytest.mark.parametrize("name", ANYWHERE)
def test_images_and_choices_are_the_same_with_another_blas_and_one_core(name, elsewhere):
    assert difference(elsewhere[name], PROBES[name].result()) == 0.0


@pytest.mark.parametrize("name", [name for name in PROBES if name.startswith("draws, ")])
def test_draws_are_the_same_to_rounding_with_another_blas_and_one_core(name, elsewhere):
    z = probes.cloud()
    variances = np.linalg.eigvalsh(np.cov(z.T))
    # Eigenvectors turn by the covariance's rounding over the gap between variances; deviations are up to 6.
    bound = 6 * len(z) * z.shape[1] * EPS * variances[-1] / np.diff(variances).min()
    assert difference(elsewhere[name], PROBES[name].result()) < bound


def test_the_table_has_a_row_for_each_result(capsys):
    truth = {name: np.arange(3.0) for name in ("factors", "factors|again", "scores")}
    determinism._print(truth, {"here": truth, "there": {"factors": np.arange(3.0) * (1 + EPS)}})
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "| result | in another way | here | there |"
    assert rows[2:] == ["| factors | same (backwards) | same | 5e-16 |", "| scores | – | same | – |"]
