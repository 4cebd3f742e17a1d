"""The explorer in a real browser: in JupyterLab, and as the page of `make explore`.

The system's Chromium is driven; nothing is downloaded. A request to another host fails the test. Pictures of what the
browser showed are left in `build/explorer`.
"""

import contextlib
import re
import sys
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from aelib import application
from benchmarks.serving import CHROMIUM, FLAGS, KERNEL_IS_IDLE, PATIENCE, free_port, lab_options, serving

SHOTS = Path(__file__).resolve().parent.parent / "build" / "explorer"
N_IMAGES = 400
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium is installed: the explorer was not tried in a browser (apt install chromium)",
)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """Open a page that may talk to this machine only, and check that it had nothing to complain of."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, permissions=["clipboard-read", "clipboard-write"]
    )
    sheet, foreign, errors = context.new_page(), [], []

    def guard(route):
        if re.match(r"(https?|wss?)://(?!127\.0\.0\.1[:/])", route.request.url):
            foreign.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    context.route("**/*", guard)
    sheet.on("websocket", lambda socket: "//127.0.0.1:" in socket.url or foreign.append(socket.url))
    sheet.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    sheet.on("pageerror", lambda error: errors.append(str(error)))
    sheet.set_default_timeout(PATIENCE * 1000)
    yield sheet
    context.close()
    assert (foreign, errors) == ([], [])


class Hand:
    """What a student's hand does in the explorer, and what the eye sees."""

    def __init__(self, page, name):
        self.page, self.name = page, name
        self.root = page.locator(".aelib-explorer")
        # JupyterLab does not render what is scrolled out of sight.
        self.root.and_(page.locator("[data-answered]")).wait_for(state="attached")
        self.root.evaluate("root => root.scrollIntoView({block: 'end'})")
        self.root.wait_for()

    def picture(self):
        return self.root.locator(".middle figure").nth(1).locator("canvas").evaluate("c => c.toDataURL()")

    @contextlib.contextmanager
    def changes(self):
        """Expect the picture to change."""
        before = self.picture()
        yield
        self.page.wait_for_function(
            "before => document.querySelectorAll('.aelib-explorer .middle figure canvas')[1].toDataURL() !== before",
            arg=before,
        )

    def caption(self, which=1):
        return self.root.locator(".middle figcaption").nth(which)

    def shot(self, what):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{self.name}-{what}.png")

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)

    def choose(self, k):
        row = self.root.get_by_label("Go to face")
        row.fill(str(k))
        row.press("Enter")
        expect(self.caption(0)).to_have_text(f"face {k}, the image")


def tour(hand):
    """Use every control once."""
    root, page = hand.root, hand.page
    with hand.changes():
        slider = root.get_by_role("slider", name="axis 0", exact=True)
        slider.focus()
        for _ in range(8):
            slider.press("ArrowRight")
    expect(root.locator(".sliders output").first).to_have_text("+0.40 σ")
    box = root.locator(".map").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    with hand.changes():
        # In the middle there is a face within every few pixels.
        for k in range(30):
            page.mouse.click(middle[0] + 4 * k, middle[1] + 3 * (k % 5))
            page.wait_for_timeout(300)
            if "the image" in hand.caption(0).inner_text():
                break
    expect(hand.caption(0)).to_have_text(re.compile(r"face \d+, the image"))
    expect(hand.caption()).to_have_text("its reconstruction")
    hand.shot("face")
    with hand.changes():
        page.mouse.move(*middle)
        page.mouse.down()
        for step in range(1, 12):
            page.mouse.move(middle[0] + 16 * step, middle[1] - 12 * step)
        page.mouse.up()
    expect(hand.caption()).to_have_text("the probe, decoded")
    with hand.changes():
        root.locator(".map").focus()
        for _ in range(5):
            root.locator(".map").press("Shift+ArrowLeft")
    root.locator(".map").press("Enter")
    expect(hand.caption()).to_have_text("its reconstruction")


def tour_draws_and_walk(hand):
    root = hand.root
    hand.button("Draw 16").click()
    fourth = root.get_by_role("button", name="Drawn face 4: go there")
    expect(fourth).to_be_enabled()
    faces = root.locator(".strip canvas").evaluate_all("all => new Set(all.map(c => c.toDataURL())).size")
    assert faces == 16
    with hand.changes():
        fourth.click()
    expect(fourth).to_have_attribute("aria-pressed", "true")
    expect(hand.caption(0)).to_have_text("draw 4")
    with hand.changes():
        temperature = root.get_by_role("slider", name="temperature")
        temperature.focus()
        for _ in range(6):
            temperature.press("ArrowLeft")
    expect(root.locator(".draws output")).to_have_text("T = 0.70")
    hand.button("Pin A").click()
    hand.choose(7)
    hand.button("Pin B").click()
    expect(root.get_by_role("slider", name="A to B")).to_be_enabled()
    with hand.changes():
        root.get_by_role("slider", name="A to B").focus()
        for _ in range(50):
            root.get_by_role("slider", name="A to B").press("ArrowRight")
    expect(hand.caption(0)).to_have_text("50 % of the way from A to B")
    with hand.changes():
        root.get_by_role("combobox", name="Way", exact=True).select_option("arc")
    hand.shot("walk")


def tour_factors_and_planes(hand):
    root, page = hand.root, hand.page
    root.get_by_role("combobox", name="Colour", exact=True).select_option("wall_value")
    expect(root.locator(".legend")).to_contain_text("0.")
    root.get_by_role("tab", name="Factors").click()
    with hand.changes():
        wall = root.get_by_role("slider", name="wall value")
        wall.focus()
        for _ in range(20):
            wall.press("ArrowRight")
    root.get_by_role("combobox", name="Plane", exact=True).select_option("components")
    expect(root.locator(".kept")).to_contain_text("The other 254 stay as they are")
    root.get_by_role("radio", name="follow").check()
    expect(root.locator(".kept")).to_contain_text("The other 254 follow by their covariance")
    hand.shot("factors")
    # Far out: the explorer says so.
    root.locator(".map").focus()
    for _ in range(16):
        root.locator(".map").press("Shift+ArrowRight")
    root.get_by_role("radio", name="stay").check()
    for _ in range(6):
        root.locator(".map").press("Shift+ArrowUp")
    expect(root.locator(".verdict")).to_contain_text("Outside the cloud")
    expect(root).to_have_attribute("data-level", "outside")
    hand.button("Code").click()
    expect(root.locator("pre")).to_contain_text("face = aelib.decode(model, point[None])[0]")
    text = root.locator("pre").inner_text()
    hand.button("Copy").click()
    expect(root.get_by_text("copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").strip() == text.strip()
    hand.shot("code")
    hand.button("Close").click()
    root.get_by_role("tab", name="PCA axes").click()


def check_access(hand, within):
    """No violation of WCAG 2.1 A and AA, in either tab, in light and in dark colours."""
    options = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
    found = Axe().run(hand.page, context=within, options=options).response["violations"]
    assert [(v["id"], [node["html"][:200] for node in v["nodes"]][:3]) for v in found] == []


def check_map_is_drawn(hand):
    """Points lie all over the map, not in a corner."""
    spread = hand.root.locator(".map").evaluate(
        """map => {
            const { width, height } = map;
            const data = map.getContext("2d").getImageData(0, 0, width, height).data, seen = [];
            for (let k = 0; k < width * height; k++) if (data[4 * k + 3] > 0) seen.push(k);
            const xs = seen.map(k => k % width), ys = seen.map(k => Math.floor(k / width));
            const range = all => all.reduce((a, b) => Math.max(a, b), 0) - all.reduce((a, b) => Math.min(a, b), 1e9);
            return [range(xs) / width, range(ys) / height];
        }"""
    )
    assert min(spread) > 0.7


def check_fold(hand):
    """All of it is seen at once."""
    boxes = [
        hand.root.locator(part).bounding_box()
        for part in (".top", ".left", ".middle", ".sliders", ".draws", ".walk")
    ]
    assert min(box["y"] for box in boxes) >= 0
    assert max(box["y"] + box["height"] for box in boxes) <= 800
    assert max(box["x"] + box["width"] for box in boxes) <= 1280
    cut = hand.root.locator(".middle, .left, .draws, .walk").evaluate_all(
        "all => all.filter(e => e.scrollHeight > e.clientHeight + 1).map(e => e.className)"
    )
    assert cut == []


def test_the_page_of_its_own(page, tmp_path):
    port = free_port()
    options = ["--n-images", str(N_IMAGES), "--port", str(port), "--no-browser"]
    command = [sys.executable, "-m", "aelib", "explore", *options]
    with serving(command, tmp_path, ready="explorer: http") as (_, log):
        page.goto(re.search(r"http://\S+", log.read_text())[0], wait_until="commit")
        hand = Hand(page, "page")
        assert page.url == f"http://127.0.0.1:{port}/", "the token stays in the address"
        expect(page.get_by_role("heading", name="Latent faces")).to_be_visible()
        check_fold(hand)
        tour(hand)
        tour_draws_and_walk(hand)
        tour_factors_and_planes(hand)
        check_access(hand, None)
        page.set_viewport_size({"width": 1600, "height": 1000})
        hand.shot("wide")
        page.reload(wait_until="commit")
        Hand(page, "page").choose(3)
        page.close()  # before its server goes


def test_in_jupyterlab(page, tmp_path):
    application.write_notebook(tmp_path, {"n_images": N_IMAGES})
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", *lab_options(tmp_path, port)]
    with serving(command, tmp_path, ready="is running at"):
        page.goto(f"http://127.0.0.1:{port}/lab/tree/explorer.ipynb?reset")
        page.wait_for_function(KERNEL_IS_IDLE)
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        hand = Hand(page, "lab")
        check_fold(hand)
        tour(hand)
        tour_draws_and_walk(hand)
        tour_factors_and_planes(hand)
        check_access(hand, ".aelib-explorer")
        page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
        page.wait_for_timeout(1500)
        check_access(hand, ".aelib-explorer")
        check_map_is_drawn(hand)
        hand.shot("dark")
        hand.choose(11)
        page.evaluate("jupyterapp.commands.execute('docmanager:save')")
        page.wait_for_timeout(1500)
        page.reload()
        again = Hand(page, "lab")
        expect(again.caption(0)).to_have_text("face 11, the image")
        page.close()
