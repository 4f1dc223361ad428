"""The page in a real browser: no complaint of its console, nothing too wide, a job by one click.

Needs Playwright's Python package and Chromium. Screenshots are left in build/screenshots.
"""

import shutil
from pathlib import Path

import pytest
from browser import serving
from handmade import write_run

from distopt.service.service import Service
from distopt.service.settings import Settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 300_000  # ms
SHOTS = Path(__file__).parents[2] / "build" / "screenshots"
pytestmark = [pytest.mark.slow, pytest.mark.once]


@pytest.fixture(scope="module")
def page_of():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    with playwright.sync_playwright() as found:
        browser = found.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        said: list[str] = []

        def page_of(width=1280, scheme="light"):
            size = {"width": width, "height": 844 if width < 500 else 900}
            page = browser.new_context(viewport=size, color_scheme=scheme).new_page()
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            return page, said

        yield page_of
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    data = tmp_path_factory.mktemp("service")
    for name, compressor in (("gt", "identity"), ("zed", "zoom")):
        write_run(data / "mine" / name, compressor=compressor, algorithm=name)
    service = Service.open(Settings(data=data, slots=4))
    service.catalogue.refresh(walk=True)
    with serving(service) as client:
        yield str(client.base_url).rstrip("/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_and_says_nothing(page_of, address, width, scheme):
    page, said = page_of(width, scheme)
    pages = {
        "runs": "/", "run": "/run?folder=mine/zed", "api": "/api",
        "compare": "/compare?run=mine/gt&run=mine/zed", "new": "/new?example=quickstart",
    }  # fmt: skip
    SHOTS.mkdir(parents=True, exist_ok=True)
    for name, path in pages.items():
        page.goto(f"{address}{path}")
        if name in {"run", "compare"}:
            page.wait_for_selector("#charts canvas")
        if name == "new":
            page.wait_for_selector("#start:enabled")
            page.wait_for_selector("fieldset")
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
    for box in page.query_selector_all("#lines input[name=run]"):
        box.check()
    page.click("#together")
    page.wait_for_selector("text=bits per")
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
