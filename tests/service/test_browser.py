"""The page in a real browser: no complaint of its console, nothing too wide, a job by one click.

Needs the extra `browser` and Chromium. Screenshots are left in build/screenshots.
"""

import shutil
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import pytest
from browser import serving
from debian import need
from handmade import write_run

import distopt
from distopt.service.service import Service
from distopt.service.settings import Settings

PATIENCE = 300_000  # ms
PAGES = {
    "runs": "/", "run": "/run?folder=mine/measured", "api": "/api",
    "compare": "/compare?run=mine/gt&run=mine/zed", "new": "/new?example=quickstart",
}  # fmt: skip
SHOTS = Path(__file__).parents[2] / "build" / "screenshots"
pytestmark = [pytest.mark.slow, pytest.mark.once]


@pytest.fixture(scope="module")
def page_of():
    playwright = pytest.importorskip("playwright.sync_api")
    need(("chromium",), ("chromium",))
    with playwright.sync_playwright() as found:
        browser = found.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        said: list[str] = []

        def page_of(width=1280, scheme="light"):
            said.clear()
            size = {"width": width, "height": 844 if width < 500 else 900}
            page = browser.new_context(viewport=size, color_scheme=scheme).new_page()
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            return page, said

        yield page_of
        browser.close()


class Guess:
    """A quadratic that also says how far a model is from its own answer."""

    dimension, smoothness = 2, 1.0

    def __init__(self, agent):
        self.agent = agent

    def value(self, x):
        return 0.5 * float((x - self.agent) @ (x - self.agent))

    def gradient(self, x, out):
        out[:] = x - self.agent

    def measures(self, x):
        return {"accuracy": 1 / (1 + float(abs(x - self.agent).max()))}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    data = tmp_path_factory.mktemp("service")
    for name, compressor in (("gt", "identity"), ("zed", "zoom")):
        write_run(data / "mine" / name, compressor=compressor, algorithm=name)
    costs = [Guess(agent) for agent in range(6)]
    distopt.simulate(
        costs,
        algorithm="cgt1",
        compressor="quantize",
        iterations=60,
        out=data / "mine" / "measured",
    )
    service = Service.open(Settings(data=data, slots=4))
    service.catalogue.refresh(walk=True)
    with serving(service) as client:
        yield str(client.base_url).rstrip("/")


def visit(page, address, path):
    """Open a page and wait until all of it is there."""
    page.goto(f"{address}{path}")
    if path.startswith(("/run", "/compare")):
        page.wait_for_selector("#charts canvas")
    if path.startswith("/run"):
        page.wait_for_selector("#graph svg")
    if path.startswith("/new"):
        page.wait_for_selector("#start:enabled")
        page.wait_for_selector("fieldset")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_and_says_nothing(page_of, address, width, scheme):
    page, said = page_of(width, scheme)
    SHOTS.mkdir(parents=True, exist_ok=True)
    for name, path in PAGES.items():
        visit(page, address, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
    assert said == []
    page.context.close()


def test_a_run_by_one_click(page_of, address):
    page, said = page_of()
    page.goto(f"{address}/new?example=quickstart")
    page.select_option("select[name=engine]", "simulate")
    page.wait_for_selector("#start:enabled")
    page.wait_for_selector("#verdict:has-text('1 process')")
    page.click("#start")
    page.wait_for_selector("#status .state.finished")
    page.wait_for_selector("#charts canvas")
    page.goto(address)
    page.wait_for_selector("text=quickstart")
    page.fill("#q", "no such run")
    page.wait_for_selector("text=Nothing matches.")
    page.fill("#q", "mine")
    page.wait_for_selector("#lines:not(:has-text('quickstart')) tr:nth-child(2)")
    boxes = page.locator("#lines input[name=run]")
    for number in range(boxes.count()):
        boxes.nth(number).check()
    page.click("#together")
    page.wait_for_selector("text=bits per")
    assert said == []
    page.context.close()


def test_curves_appear_as_the_runs_of_a_job_begin(page_of, address):
    page, said = page_of()
    endless = {
        "problem": {"name": "quadratic", "agents": 4},
        "run": {"iterations": 10**8, "record_every": 1000},
        "variant": [{"label": "one", "algorithm": {"name": "gt"}}],
    }
    with distopt.Client(address) as client:
        job = client.submit(endless, "endless", engine="simulate")
        page.goto(f"{address}/jobs/{job}")  # has no runs yet
        page.wait_for_selector("#charts canvas")
        assert client.job(job).state == "running"
        client.cancel(job)
        client.wait(job)
    assert said == []
    page.context.close()


def test_what_is_wrong_is_said_while_one_types(page_of, address):
    page, said = page_of()
    page.goto(f"{address}/new?example=quickstart")
    page.wait_for_selector("fieldset")
    page.fill("[id='algorithm.eta']", "-1")
    page.wait_for_selector("#verdict.warn")
    assert "algorithm.eta = -1 is not acceptable" in page.inner_text("#verdict")
    assert page.get_attribute("[id='algorithm.eta']", "aria-invalid") == "true"
    assert page.is_disabled("#start")
    page.fill("[id='algorithm.eta']", "0.5")
    page.wait_for_selector("#start:enabled")
    assert "eta = 0.5" in page.inner_text("#preview")
    assert [text for text in said if "422" not in text] == []  # the browser's word on a refusal
    page.context.close()


def test_a_run_shows_what_it_measured_and_gives_its_figures_away(page_of, address, tmp_path):
    page, said = page_of()
    visit(page, address, PAGES["run"])
    page.wait_for_selector("figcaption:has-text('accuracy')")
    assert page.locator("#graph g.agent").count() == 6
    legend = page.inner_text("#legend")
    assert all(
        word in legend for word in ("lyapunov gap", "lyapunov memory x", "lyapunov tracking")
    )
    box = page.locator("#charts .u-over").first.bounding_box()
    left, middle = box["x"] + box["width"] / 3, box["y"] + box["height"] / 2
    page.mouse.move(left, middle)
    assert page.inner_text(".readout").startswith("iterations ")
    page.mouse.down()
    page.mouse.move(left + box["width"] / 3, middle, steps=5)
    page.mouse.up()
    page.click("#whole")  # is there while a part of the axis is shown
    page.wait_for_selector("#whole", state="hidden")
    for x in ("bytes per agent", "seconds", "gradients"):
        page.select_option("#x", label=x)
        page.wait_for_selector(f"#charts canvas[aria-label='Lyapunov value over {x}']")
    for kind in ("SVG", "PNG"):
        with page.expect_download() as found:
            page.click(f"button[aria-label='Save Lyapunov value as {kind}']")
        assert found.value.suggested_filename == f"Lyapunov value over gradients.{kind.lower()}"
        found.value.save_as(tmp_path / kind)
    assert (tmp_path / "PNG").read_bytes().startswith(b"\x89PNG")
    drawn = ElementTree.parse(tmp_path / "SVG")
    curves = [curve.attrib["points"].split() for curve in drawn.findall(".//{*}polyline")]
    assert len(curves) == page.locator("#legend li").count()
    assert all(len(points) > 5 for points in curves)
    assert said == []
    page.context.close()


@pytest.fixture(scope="module")
def axe():
    """The script of axe-core."""
    pytest.importorskip("axe_playwright_python")
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(page_of, address, axe, width, scheme):
    page, _ = page_of(width, scheme)
    found = {}
    for name, path in PAGES.items():
        visit(page, address, path)
        page.evaluate(axe)  # by the debugger, which the page's policy does not bind
        violations = page.evaluate("axe.run().then((result) => result.violations)")
        found[name] = [
            (v["id"], v["impact"], [node["html"][:120] for node in v["nodes"][:3]])
            for v in violations
            if v["impact"] in {"serious", "critical"}
        ]
    assert not any(found.values()), found
    page.context.close()
