"""Scores of places and dates: against brute force, scikit-learn and distances that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.metrics.pairwise import haversine_distances

from artneuro.core.errors import DataError
from artneuro.spacetime.metrics import (
    RADIUS_KM,
    SPACE,
    TIME,
    errors_of,
    great_circle_km,
    on_sphere,
    score_targets,
)
from artneuro.spacetime.proximity import proximity_errors


def distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    found = great_circle_km(
        latitude_a=np.array([a[0]]),
        longitude_a=np.array([a[1]]),
        latitude_b=np.array([b[0]]),
        longitude_b=np.array([b[1]]),
    )
    return float(found[0])


@pytest.mark.parametrize(
    ("a", "b", "degrees"),
    [
        ((0, 0), (0, 90), 90),
        ((0, 0), (0, 180), 180),
        ((90, 12), (-90, 100), 180),
        ((90, 12), (90, -100), 0),
        ((10, 179), (10, -181), 0),
        ((0, 179), (0, -179), 2),
        ((45, 0), (45, 180), 90),
        ((95, 7), (90, 50), 0),
        ((31.5, 20), (-31.5, -160), 180),
        ((20, 30), (20 + 1e-7, 30), 1e-7),
    ],
)
def test_great_circles_of_known_length(a, b, degrees):
    assert distance(a, b) == pytest.approx(np.radians(degrees) * RADIUS_KM, rel=1e-7, abs=1e-6)
    assert distance(b, a) == distance(a, b)


def test_great_circle_of_two_cities():
    # Paris to New York: 5,837 km on the sphere.
    assert distance((48.8566, 2.3522), (40.7128, -74.0060)) == pytest.approx(5837, abs=1)


def test_coordinates_are_taken_by_name_only():
    with pytest.raises(TypeError):
        great_circle_km(1.0, 2.0, 3.0, 4.0)  # type: ignore[misc]


def test_coordinates_beyond_the_globe():
    latitude, longitude = on_sphere(
        np.array([91.0, -200.0, 3.3]), np.array([180.0, -181.0, 0.1 + 0.2])
    )
    assert latitude.tolist() == [90.0, -90.0, 3.3]
    assert longitude.tolist() == [-180.0, 179.0, 0.1 + 0.2]


def test_scores_of_places():
    random = np.random.default_rng(0)
    truth = random.uniform([-60, -170], [60, 170], size=(200, 2))
    said = truth + random.normal(size=(200, 2)) * [10, 30]
    found = score_targets(truth, said, SPACE)
    assert found["r2"] == pytest.approx(r2_score(truth, said))
    assert found["r2_latitude"] == pytest.approx(r2_score(truth[:, 0], said[:, 0]))
    assert found["r2_longitude"] == pytest.approx(r2_score(truth[:, 1], said[:, 1]))
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, said))
    pairs = list(zip(truth.T, said.T, strict=True))
    spearman = [stats.pearsonr(stats.rankdata(a), stats.rankdata(b)).statistic for a, b in pairs]
    assert found["spearman"] == pytest.approx(np.mean(spearman))
    a, b = pairs[0]
    signs = [np.sign(np.subtract.outer(x, x)) for x in (a, b)]
    b_signs = [np.sign(np.subtract.outer(x, x)) for x in pairs[1]]
    kendall = np.mean([(s * t).sum() / (200 * 199) for s, t in (signs, b_signs)])
    assert found["kendall"] == pytest.approx(kendall)
    km = haversine_distances(np.radians(truth), np.radians(said)).diagonal() * RADIUS_KM
    assert found["error_km"] == pytest.approx(km.mean())
    assert found["error_km_median"] == pytest.approx(np.median(km))
    # The order of the columns is of no consequence.
    turned = score_targets(truth[:, ::-1], said[:, ::-1], SPACE[::-1])
    assert turned == pytest.approx(found)


def test_scores_of_dates():
    truth = np.array([[1900.0], [1950.0], [2000.0]])
    found = score_targets(truth, np.array([[1910.0], [1940.0], [1990.0]]), TIME)
    assert found["r2"] == pytest.approx(1 - 300 / 5000)
    assert found["spearman"] == found["kendall"] == pytest.approx(1.0)
    assert found["mae"] == pytest.approx(10.0)
    assert found["error_km"] is found["r2_latitude"] is None


def test_what_is_undefined_is_none():
    truth = np.array([[1900.0], [1950.0]])
    constant = score_targets(truth, np.full((2, 1), 1925.0), TIME)
    assert constant["spearman"] is constant["kendall"] is None
    assert constant["r2"] == pytest.approx(0.0)
    assert score_targets(np.full((2, 1), 5.0), truth, TIME)["r2"] is None
    with pytest.raises(DataError, match="shape"):
        score_targets(truth, truth, SPACE)


def by_brute_force(truth: np.ndarray, said: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Places: nearer by more than rounding. Loops over all pairs, by another formula."""
    said = np.stack(on_sphere(*said.T), axis=1)
    far = haversine_distances(np.radians(truth), np.radians(said))
    found = np.empty(len(truth))
    for i in range(len(truth)):
        others = among[among != i]
        found[i] = (far[i, others] < far[i, i] - 1e-9).mean()
    return found


def awkward_places(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truths and predictions with duplicates, poles, antipodes, and predictions off the globe."""
    random = np.random.default_rng(seed)
    truth = random.uniform([-90, -180], [90, 180], size=(300, 2))
    said = truth + random.normal(size=(300, 2)) * 25
    said[:30] = said[30:60]
    truth[60:70] = truth[60]
    said[70] = truth[70]
    said[71] = [-truth[71, 0], truth[71, 1] - 180]
    truth[72], truth[73], said[74], said[75] = (90, 5), (-90, 5), (90, 60), (90, -60)
    said[76], said[77] = (3, 180), (3, -180)
    said[78], said[79] = (120, 400), (-200, -900)
    return truth, said


@pytest.mark.parametrize("seed", range(4))
def test_proximity_of_places_is_that_of_brute_force(seed):
    truth, said = awkward_places(seed)
    everyone = np.arange(len(truth))
    found = proximity_errors(truth, said, SPACE)
    np.testing.assert_array_equal(found, by_brute_force(truth, said, everyone))
    np.testing.assert_array_equal(
        found, proximity_errors(truth[:, ::-1], said[:, ::-1], SPACE[::-1])
    )
    some = everyone[::3]
    found = proximity_errors(truth, said, SPACE, among=some)
    np.testing.assert_array_equal(found, by_brute_force(truth, said, some))
    mask = np.isin(everyone, some)
    np.testing.assert_array_equal(found, proximity_errors(truth, said, SPACE, among=mask))


def test_proximity_as_published_has_the_coordinates_swapped():
    truth, said = awkward_places(9)
    far = haversine_distances(np.radians(truth[:, ::-1]), np.radians(said[:, ::-1]))
    expected = [(np.delete(far[i], i) < far[i, i] - 1e-9).mean() for i in range(len(truth))]
    found = proximity_errors(truth, said, SPACE, as_published=True)
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(found, proximity_errors(truth, said, SPACE))


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_proximity_of_dates_is_that_of_brute_force(decimals):
    random = np.random.default_rng(decimals)
    truth = np.round(random.uniform(1900, 1950, size=400), decimals)
    said = np.round(truth + random.normal(size=400) * 15, decimals)
    said[:20] = truth[:20]
    some = random.permutation(400)[:150]
    for among in (np.arange(400), some):
        far = np.abs(said[among][None] - truth[:, None])
        own = np.abs(said - truth)[:, None]
        is_other = among[None] != np.arange(400)[:, None]
        expected = ((far < own) & is_other).sum(axis=1) / is_other.sum(axis=1)
        found = proximity_errors(truth[:, None], said[:, None], TIME, among=among)
        np.testing.assert_array_equal(found, expected)


def test_proximity_by_hand():
    # Of the entity at 0 the prediction is 3 off: that of 1 is nearer, those as far off are not.
    truth = np.array([[0.0], [1.0], [2.0], [3.0]])
    said = np.array([[3.0], [1.0], [-3.0], [3.0]])
    assert proximity_errors(truth, said, TIME).tolist() == [1 / 3, 0.0, 1.0, 0.0]
    # All predictions alike: none is nearer than another.
    assert proximity_errors(truth, np.ones((4, 1)), TIME).tolist() == [0.0] * 4


def test_proximity_of_many_places_against_blocks():
    random = np.random.default_rng(5)
    truth = random.uniform([-60, -180], [70, 180], size=(6000, 2))
    said = truth + random.normal(size=(6000, 2)) * [10, 20]
    found = proximity_errors(truth, said, SPACE)
    clipped = np.radians(np.stack(on_sphere(*said.T), axis=1))
    rows = random.permutation(6000)[:200]
    far = haversine_distances(np.radians(truth[rows]), clipped)
    own = far[np.arange(200), rows][:, None]
    np.testing.assert_allclose(found[rows], (far < own - 1e-12).sum(axis=1) / 5999, atol=1e-9)


def test_proximity_needs_what_it_compares():
    one = np.array([[1.0, 2.0]])
    with pytest.raises(DataError, match="other entities"):
        proximity_errors(one, one, SPACE)
    two = np.array([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(DataError, match="other"):
        proximity_errors(two, two, SPACE, among=np.array([0]))
    with pytest.raises(DataError, match="distance"):
        proximity_errors(two, two, ("latitude", "time"))
    with pytest.raises(DataError, match="complete"):
        proximity_errors(two * np.nan, two, SPACE)


def test_errors_are_km_or_years():
    truth, said = awkward_places(3)
    km = haversine_distances(np.radians(truth), np.radians(np.stack(on_sphere(*said.T), axis=1)))
    np.testing.assert_allclose(errors_of(truth, said, SPACE), km.diagonal() * RADIUS_KM, atol=1e-6)
    years = errors_of(np.array([[3.0]]), np.array([[1.5]]), TIME)
    assert years.tolist() == [1.5]
