"""How long a person waits in a browser: the curves of many long runs, and the demo from the start.

    python benchmarks/page.py curves [--long 50] [--rows 100000]
    python benchmarks/page.py demo

Needs the extra `browser` and Chromium. `curves` opens a comparison of long runs and takes the time from
the request for the page until all figures are painted, and until the tables are there, then the time after
another axis is chosen. The browser paints without a graphics card, as in a container. `demo` starts a
service in an empty folder, clicks "Demo" and "Start" as soon as they can be clicked, and waits until the
comparison is finished and drawn.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import psutil
from playwright.sync_api import Page, sync_playwright
from service import Server, prepare

PATIENCE = 600_000  # ms
NOTE = """
document.addEventListener("DOMContentLoaded", () => document.body.addEventListener("drawn", () =>
  requestAnimationFrame(() => requestAnimationFrame(() => {
    document.body.dataset.drawn = performance.now(); }))));
"""


def curves(page: Page, data: Path, long: int, rows: int) -> None:
    """Time the figures of a comparison."""
    page.add_init_script(NOTE)
    if not data.joinpath("run0000").exists():
        prepare(data, 1, long, rows)
    server = Server(data)
    try:
        while server.http.get("/api/v1/runs?limit=1").json()["total"] < long + 1:
            time.sleep(0.5)
        asked = urlencode({"run": [f"long{i:02d}" for i in range(long)]}, doseq=True)
        opened, again, spent, tables = [], [], [], []
        for _ in range(5):
            before = server.processor() + browsing()
            page.goto(f"{server.http.base_url}/compare?{asked}")
            opened.append(drawn(page))
            spent.append(server.processor() + browsing() - before)
            compared(page)
            tables.append(page.evaluate("performance.now()") / 1000)
            began = page.evaluate("delete document.body.dataset.drawn, performance.now()")
            page.select_option("#x", "bytes_per_agent")
            again.append(drawn(page) - began / 1000)
        show(f"{long} runs of {rows} rows painted, first time", "2 s", opened[:1])
        show("the same, later", "2 s", opened[1:])
        show("processor time of server and browser", "2 s", spent)
        show("over another axis", "2 s", again)
        show("the tables below are there", "none", tables)
    finally:
        server.process.terminate()
        server.process.wait()


def browsing() -> float:
    """Processor seconds of the browser so far."""
    found = [p for p in psutil.Process().children(recursive=True) if "chrom" in p.name()]
    return sum(p.cpu_times().user + p.cpu_times().system for p in found)


def drawn(page: Page) -> float:
    """Wait until the figures are painted; return when that was, in seconds of the page."""
    page.wait_for_selector("body[data-drawn]")
    assert page.locator("#charts canvas").count() >= 4
    return float(page.get_attribute("body", "data-drawn") or 0) / 1000


def compared(page: Page) -> None:
    """Wait until the tables of a comparison are there, or the sentence that says why not."""
    page.wait_for_selector("#tables table, #tables .warn")
    assert not page.locator("#tables .warn").count(), page.inner_text("#tables")


def demo(page: Page, data: Path) -> None:
    """Time the demo from the start of the service."""
    began = time.perf_counter()

    def reached(what: str) -> None:
        print(f"{time.perf_counter() - began:6.1f} s  {what}", flush=True)

    server = Server(data)
    try:
        reached("the service answers")
        page.goto(str(server.http.base_url))
        page.get_by_role("link", name="Demo", exact=True).click()
        page.wait_for_selector("#start:enabled")
        reached("the demo is checked and can be started")
        page.click("#start")
        page.wait_for_selector("#status")
        reached("it is in the queue")
        page.wait_for_selector("#charts canvas")
        reached("the first curves are drawn")
        page.wait_for_selector("#status .lead .state.finished")
        reached("it is finished")
        page.click("text=Table of the comparison")
        page.wait_for_selector("#charts canvas")
        compared(page)
        reached("the comparison is drawn, with its table; aim 90 s")
    finally:
        server.process.terminate()
        server.process.wait()


def show(what: str, aim: str, seconds: list[float]) -> None:
    """Print a median and the extremes."""
    print(
        f"{what:44} {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}); "
        f"aim {aim}",
        flush=True,
    )


def main() -> None:
    """Measure."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("what", choices=["curves", "demo"])
    options.add_argument("--long", type=int, default=50)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--data", type=Path, help="folder that is kept for the next time")
    given = options.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with sync_playwright() as found:
        browser = found.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(PATIENCE)
        with tempfile.TemporaryDirectory(prefix="distopt-page-") as place:
            data = given.data or Path(place)
            if given.what == "curves":
                curves(page, data, given.long, given.rows)
            else:
                demo(page, data)
        browser.close()


if __name__ == "__main__":
    main()
