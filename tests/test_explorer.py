"""Tests of aelib.explorer without a browser: state, words, lines and messages."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import aelib
from aelib import densities, paths, pca
from aelib.explorer import Plane, Recipe, Session, explore, measure_cloud, planes, recipes, words
from aelib.factors import factor_directions
from aelib.images import Images
from aelib.laws import MultivariateNormal, UniformBox
from aelib.model import AutoencoderConfig, build

D, N = 6, 400


def make_points(dtype=np.float32):
    rng = np.random.default_rng(5)
    return (rng.standard_normal((N, D)) @ rng.standard_normal((D, D)) + np.arange(D)).astype(dtype)


@pytest.fixture(scope="module")
def z():
    return make_points()


@pytest.fixture(scope="module")
def table(z):
    rng = np.random.default_rng(6)
    noise = rng.standard_normal(N)
    gaps = np.where(np.arange(N) == 3, np.nan, noise)
    smile = z[:, 0] - z[:, 3] + noise
    return pd.DataFrame({"smile": smile, "glasses": z[:, 2] > 2, "who": "x", "one": 1.0, "gaps": gaps})


@pytest.fixture(scope="module")
def cloud(z, table):
    return measure_cloud(z, table, tsne=z[:50, :2].astype(float))


@pytest.fixture
def session(cloud):
    return Session(cloud, {"normal": MultivariateNormal(), "box": UniformBox(b=3.0)}, seed=4)


def run(code, z, table, **more):
    """Execute the lines as a user would, with a decoder that only hands the point back."""
    fake = SimpleNamespace(**{**vars(aelib), "decode": lambda model, points: points})
    for name in ("MultivariateNormal", "UniformBox"):
        setattr(fake, name, getattr(aelib, name))
    space = {"model": None, "z": z, "images": SimpleNamespace(table=table.drop(columns="gaps")), **more}
    exec(code.replace("import aelib\n", "", 1), {**space, "aelib": fake}, space)
    np.testing.assert_array_equal(space["face"], space["point"])
    return space["point"]


def test_distances_are_mahalanobis_distances(cloud, z):
    moments = cloud.moments
    expected = densities.mahalanobis_distance(z, mean=moments.mean, covariance=moments.covariance)
    np.testing.assert_allclose(
        [cloud.distance(row) for row in z[:20].astype(float)], expected[:20], rtol=1e-6
    )
    np.testing.assert_allclose(cloud.distances, np.sort(expected), rtol=1e-6)
    assert cloud.share_nearer(float(np.median(expected))) == pytest.approx(0.5, abs=0.01)


def test_a_point_off_a_flat_cloud_is_infinitely_far():
    flat = np.random.default_rng(0).standard_normal((30, 2)) @ np.array([[1.0, 0, 1, 0], [0, 1, 0, 1]])
    cloud = measure_cloud(flat)
    assert cloud.distance(flat[3]) < 5
    assert cloud.distance(flat[3] + [1.0, 0, 0, 0]) == np.inf
    session = Session(cloud, {})
    session.look(Plane("components", 0, 1))
    session.probe(3.0, 0.0)
    report = session.report()
    assert (report["distance"], report["verdict"]["level"]) == (None, "outside")
    assert "Off the cloud" in report["verdict"]["text"]


def test_what_cannot_be_explored_is_refused(z, table):
    with pytest.raises(ValueError, match="at least 3 points"):
        measure_cloud(z[:2])
    with pytest.raises(ValueError, match="at least 3 points that differ in 2"):
        measure_cloud(np.outer(np.arange(9.0), [1, 0]))
    with pytest.raises(ValueError, match="one row per z-point"):
        measure_cloud(z, table[:-1])
    with pytest.raises(ValueError, match="map must have places"):
        measure_cloud(z, tsne=np.zeros((3, 3)))
    assert measure_cloud(z, table[["who", "one"]]).directions is None


def test_planes_project_points_and_cloud_alike(cloud, z):
    axes = pca.principal_axes(z)
    for plane, expected in (
        (Plane("components", 4, 1), z[:, [4, 1]]),
        (Plane("axes", 2, 0), axes.transform(z)[:, [2, 0]]),
    ):
        np.testing.assert_allclose(planes.places(cloud, plane), expected, atol=1e-4)
        np.testing.assert_allclose(planes.place(cloud, plane, z[7].astype(float)), expected[7], atol=1e-4)
        spread = np.cov(expected.T)
        np.testing.assert_allclose(planes.covariance(cloud, plane), spread, rtol=1e-4, atol=1e-4)
        offset = expected[7] - expected.mean(axis=0)
        own = np.sqrt(offset @ np.linalg.solve(spread, offset))
        assert planes.plane_distance(cloud, plane, z[7].astype(float)) == pytest.approx(own, rel=1e-3)
        for n, line in zip(planes.N_SIGMA, planes.outlines(cloud, plane), strict=True):
            gaps = line - expected.mean(axis=0)
            squares = np.einsum("pi,ij,pj->p", gaps, np.linalg.inv(spread), gaps)
            np.testing.assert_allclose(np.sqrt(squares), n, rtol=1e-3)


@pytest.mark.parametrize(
    "plane",
    [Plane("axes", 0, 0), Plane("axes", 0, D), Plane("components", -1, 2), Plane("components", 1, 99)],
)
def test_planes_that_are_none_are_refused(session, plane):
    before = session.plane
    with pytest.raises(ValueError, match="choose two different"):
        session.look(plane)
    assert session.plane == before


def test_a_probe_in_a_plane_of_components_holds_or_moves_the_others(session, cloud, z):
    session.look(Plane("components", 1, 4))
    session.choose(9)
    session.probe(2.0, -1.0)
    held = z[9].astype(float)
    held[[1, 4]] = 2.0, -1.0
    np.testing.assert_allclose(session.point, held, atol=1e-3)
    assert "other 4 stay as they are at face 9" in session.report()["kept"]

    session.centre()
    session.follow = True
    session.probe(2.0, -1.0)
    mean, covariance = cloud.moments.mean, cloud.moments.covariance
    offset = np.array([2.0, -1.0]) - mean[[1, 4]]
    expected = mean + offset @ np.linalg.solve(covariance[np.ix_([1, 4], [1, 4])], covariance[[1, 4]])
    np.testing.assert_allclose(session.point, expected, atol=1e-3)
    report = session.report()
    # Of all points above a place, the one that follows is the nearest: both distances are the same.
    assert report["distance"] == pytest.approx(report["plane_distance"], rel=1e-3)
    assert "follow by their covariance" in report["kept"]


def test_a_probe_in_a_plane_of_axes_holds_all_other_axes(session, cloud):
    session.choose(9)
    before = cloud.axis_values(session.point)
    session.look(Plane("axes", 2, 0))
    session.probe(0.5, -0.25)
    after = cloud.axis_values(session.point)
    np.testing.assert_allclose(after[[2, 0]] * cloud.sigma[[2, 0]], [0.5, -0.25], atol=1e-3)
    np.testing.assert_allclose(after[[1, 3, 4, 5]], before[[1, 3, 4, 5]], atol=1e-6)
    assert session.report()["place"] == pytest.approx([0.5, -0.25], abs=1e-3)
    assert "other 4 axes stay as they are at face 9" in session.report()["kept"]


def test_sliders_set_what_they_show(session, cloud, z, table):
    session.choose(3)
    session.set_axis(4, -1.5)
    assert session.report()["axes"][4] == pytest.approx(-1.5, abs=1e-3)
    ways = factor_directions(z, table.drop(columns="gaps"))
    before = session.point
    session.set_factor("glasses", 0.75)
    assert session.report()["factors"] == pytest.approx(ways.readings(session.point[None])[0], abs=2e-3)
    assert session.report()["factors"][1] == pytest.approx(0.75, abs=1e-3)
    step = session.point - before
    np.testing.assert_allclose(
        step / np.linalg.norm(step),
        ways.direction("glasses")
        / np.linalg.norm(ways.direction("glasses"))
        * np.sign(step @ ways.direction("glasses")),
        atol=1e-6,
    )
    session.set_temperature(0.5)
    session.set_axis(4, 1.0)
    assert session.report()["axes"][4] == pytest.approx(1.0, abs=1e-3)


def test_temperature_scales_the_distance(session):
    session.choose(3)
    before = session.report()["distance"]
    session.set_temperature(0.5)
    assert session.report()["distance"] == pytest.approx(0.5 * before)
    session.choose(3)
    assert session.report()["distance"] == pytest.approx(before)
    with pytest.raises(ValueError, match="temperature must be"):
        session.set_temperature(0.0)


def test_draws_are_the_sampler_s_and_can_be_gone_to(session, z, cloud):
    assert session.drawn().shape == (0, D)
    with pytest.raises(ValueError, match="draw first"):
        session.jump(0)
    session.set_temperature(0.8)
    session.draw("normal")
    mean = cloud.moments.mean
    expected = mean + 0.8 * (MultivariateNormal().fit(z).sample(16, random_state=4) - mean)
    np.testing.assert_allclose(session.drawn(), expected)
    session.jump(7)
    np.testing.assert_allclose(session.point, expected[7])
    assert session.report()["drawn"] == 7
    session.draw("normal")
    assert not np.allclose(session.drawn(), expected)
    assert session.report()["drawn"] is None
    with pytest.raises(ValueError, match="no sampler 'best'"):
        session.draw("best")


@pytest.mark.parametrize("way", ["segment", "arc"])
def test_walks_are_those_of_paths(session, z, cloud, way):
    with pytest.raises(ValueError, match="pin two points"):
        session.walk(50, way)
    session.choose(1)
    session.pin("a")
    session.pin("b")
    with pytest.raises(ValueError, match="same point"):
        session.walk(50, way)
    session.choose(2)
    session.pin("b")
    session.walk(30, way)
    ends = z[1].astype(float), z[2].astype(float)
    law = {"mean": cloud.moments.mean, "covariance": cloud.moments.covariance}
    expected = paths.segment(*ends, 101) if way == "segment" else paths.great_arc(*ends, 101, **law)
    np.testing.assert_allclose(session.point, expected[30])
    assert (session.report()["walk"], session.report()["start"]) == (30, "30 % of the way from A to B")


def test_a_place_on_a_map_is_a_mean_of_its_neighbours(session, cloud, z):
    session.look(Plane("map"))
    x, y = cloud.tsne[12] + 1e-9
    session.probe(float(x), float(y))
    np.testing.assert_allclose(session.point, z[12], atol=0.05)
    session.probe(0.3, 0.4)
    start = session.recipe.start
    assert set(start.rows) == set(np.argsort(np.linalg.norm(cloud.tsne - [0.3, 0.4], axis=1))[:5])
    assert sum(start.weights) == pytest.approx(1)
    assert session.report()["place"] == [0.3, 0.4]
    assert "no way back" in session.report()["kept"]
    session.set_axis(0, 1.0)
    assert session.report()["place"] is None
    session.choose(8)
    assert session.report()["place"] == pytest.approx(cloud.tsne[8])


def everything(session):
    """Go through all that a state can be made of, and yield at each stop."""
    session.centre()
    yield
    session.choose(5)
    yield
    session.probe(1.0, 2.0)
    session.look(Plane("components", 2, 5))
    session.probe(1.0, 1.0)
    yield
    session.follow = True
    session.probe(2.0, 1.5)
    session.set_axis(3, 1.25)
    session.set_factor("smile", 2.0)
    session.set_temperature(0.8)
    yield
    session.pin("a")
    session.draw("box")
    session.jump(4)
    yield
    session.pin("b")
    session.walk(30, "arc")
    session.set_axis(0, -1.0)
    yield
    session.pin("a")
    session.look(Plane("map"))
    session.probe(0.3, 0.1)
    yield
    session.set_factor("glasses", -1.0)
    session.pin("b")
    session.walk(77, "segment")
    yield


def test_every_state_is_made_by_its_lines(session, z, table):
    stops = 0
    for _ in everything(session):
        np.testing.assert_allclose(run(session.code, z, table), session.point, rtol=1e-9, atol=1e-9)
        stops += 1
    assert stops == 8


def test_lines_hold_what_is_needed_and_no_more(session):
    session.choose(5)
    assert session.code.splitlines() == [
        "# model, z and images: as given to aelib.explore",
        "import aelib",
        "",
        'point = z[5].astype("float64")',
        "face = aelib.decode(model, point[None])[0]",
    ]
    session.set_axis(0, 1.0)
    session.set_axis(0, 2.0)
    assert len(re.findall(r"axes\.axes\[0\]", session.code)) == 1
    before = session.recipe
    session.set_axis(0, 2.0)
    assert session.recipe == before


def test_samplers_of_the_user_come_fitted_and_by_name(cloud, z, table):
    mine = MultivariateNormal(temperature=0.5).fit(z)
    session = Session(cloud, {"mine": mine}, own=frozenset({"mine"}))
    session.draw("mine")
    session.jump(2)
    assert "sampler = samplers['mine']" in session.code
    np.testing.assert_allclose(run(session.code, z, table, samplers={"mine": mine}), session.point)


def test_a_move_that_fails_changes_nothing(session):
    session.choose(3)
    before = session.recipe
    for move in (
        lambda: session.choose(N),
        lambda: session.probe(np.nan, 0.0),
        lambda: session.set_axis(D, 1.0),
        lambda: session.set_axis(0, np.inf),
        lambda: session.set_factor("frown", 1.0),
        lambda: session.pin("c"),
        lambda: session.walk(101),
    ):
        with pytest.raises(ValueError):
            move()
    assert session.recipe == before


def test_verdicts(cloud):
    far, middle = float(cloud.distances[-1]), float(np.median(cloud.distances))
    assert words.verdict(cloud, 0.0, 0.0).level == "core"
    assert words.verdict(cloud, middle, 1.0) == words.Verdict(
        "within", "As far out as faces are: 50 % of them lie nearer to the centre."
    )
    assert words.verdict(cloud, middle, 3.5).text.endswith("In this plane it is an outlier: 3.5 σ.")
    outside = words.verdict(cloud, far + 1, 1.2)
    assert outside.level == "outside"
    assert (
        outside.text
        == "Outside the cloud. Farther out than every face. This plane hides it: here it is 1.2 σ."
    )
    assert words.verdict(cloud, far + 1, 5.0).text.endswith("every face.")


def test_colours(session, table, cloud):
    colouring = session.colouring("smile")
    low, high = np.quantile(table["smile"], [0.02, 0.98])
    assert (colouring.low, colouring.high, colouring.is_binary) == (
        pytest.approx(low),
        pytest.approx(high),
        False,
    )
    assert colouring.levels[table["smile"].argmax()] == 254
    glasses = session.colouring("glasses")
    assert glasses.is_binary and set(glasses.levels) == {0, 254}
    assert session.colouring("distance").high == pytest.approx(np.quantile(cloud.distances, 0.98))
    with pytest.raises(ValueError, match="no factor 'who'"):
        session.colouring("who")


def test_steps_add_up_and_vanish():
    shift = recipes.Shift("axis", (1,), (0.5,))
    back = recipes.Shift("axis", (1,), (-1.0,))
    recipe = Recipe().shifted(shift).shifted(shift)
    assert recipe.shifts == (recipes.Shift("axis", (1,), (1.0,)),)
    assert recipe.shifted(back) == Recipe()


@pytest.fixture(scope="module")
def widget():
    model = build(AutoencoderConfig(filters=(4, 8), z_dim=D, image_size=32), seed=1)
    z, rng = make_points(), np.random.default_rng(0)
    pixels = rng.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8)
    table = pd.DataFrame({"Smiling": z[:, 0] > 0, "gaps": np.where(z[:, 1] > 2, np.nan, 1.0)})
    explorer = explore(model, z, Images.from_array(pixels, table=table), seed=1)
    said = []
    explorer.send = lambda content, buffers=None: said.append((content, [bytes(b) for b in buffers or ()]))
    return SimpleNamespace(explorer=explorer, model=model, z=z, pixels=pixels, said=said)


def ask(widget, **message):
    widget.said.clear()
    widget.explorer._on_message(None, {"id": "v-1", **message}, [])
    assert widget.said[-1][0] == {"op": "done", "id": "v-1"}
    return {content["op"]: (content, buffers) for content, buffers in widget.said}


def test_a_greeting_brings_all_that_a_view_needs(widget):
    answers = ask(widget, op="hello")
    assert {"plane", "colours", "point"} <= set(answers)
    points = np.frombuffer(answers["plane"][1][0], np.float32).reshape(-1, 2)
    np.testing.assert_array_equal(points, planes.places(widget.explorer.session.cloud, Plane("axes", 0, 1)))
    assert len(answers["plane"][1]) == 1 + len(planes.N_SIGMA)


def test_a_chosen_face_comes_with_its_image_and_its_reconstruction(widget):
    content, (picture, original) = ask(widget, op="choose", k=12)["point"]
    assert original == widget.pixels[12].tobytes()
    decoded = 255 * aelib.decode(widget.model, widget.z[12:13])[0]
    assert np.abs(np.frombuffer(picture, np.uint8).reshape(32, 32, 3) - decoded).max() <= 1
    assert content["id"] == "v-1" and content["report"]["row"] == 12


def test_messages_of_every_kind_are_answered(widget):
    for message, answer in (
        ({"op": "look", "kind": "components", "i": 0, "j": 1}, "plane"),
        ({"op": "follow", "value": True}, "point"),
        ({"op": "probe", "x": 1.0, "y": 0.5}, "point"),
        ({"op": "axis", "k": 1, "value": 0.5}, "point"),
        ({"op": "factor", "k": "Smiling", "value": 1.0}, "point"),
        ({"op": "temperature", "value": 0.9}, "point"),
        ({"op": "pin", "which": "a"}, "pin"),
        ({"op": "draw", "name": "normal N(μ, Σ)"}, "draws"),
        ({"op": "jump", "k": 3}, "point"),
        ({"op": "pin", "which": "b"}, "pin"),
        ({"op": "walk", "k": 40, "way": "arc"}, "point"),
        ({"op": "redraw"}, "draws"),
        ({"op": "colour", "name": "Smiling"}, "colours"),
        ({"op": "colour", "name": ""}, "colours"),
        ({"op": "centre"}, "point"),
        ({"op": "code"}, "code"),
    ):
        answers = ask(widget, **message)
        assert answer in answers and "error" not in answers, message


def test_what_goes_wrong_is_told_and_the_next_message_answered(widget):
    for message in ({"op": "choose", "k": -1}, {"op": "nonsense"}, {"op": "probe", "x": None, "y": 1.0}, {}):
        assert ask(widget, **message)["error"][0]["text"]
    assert "error" not in ask(widget, op="centre")


def test_a_table_with_gaps_is_named_without_them(widget):
    widget.explorer.session.set_factor("Smiling", 2.0)
    assert "factors.factor_directions(z, images.table.dropna(axis=1))" in widget.explorer.session.code


def test_points_and_images_must_fit(widget):
    with pytest.raises(ValueError, match="one per image"):
        explore(widget.model, widget.z[:-1], widget.pixels)


def test_its_files_are_part_of_the_package(widget):
    assert "export default" in widget.explorer._esm
    assert ".aelib-explorer" in widget.explorer._css
