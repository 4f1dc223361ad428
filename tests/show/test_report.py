"""The report of one run: complete, self-contained, honest about what it shows."""

import re
from html.parser import HTMLParser

import pytest
from handmade import write_run

from distopt.core.errors import CheckpointError
from distopt.show import figures
from distopt.show.report import write_reports
from distopt.studies import best

FIGURES = ["convergence", "objective", "errors", "compression", "invariant", "lyapunov", "topology"]


def write_report(place):
    (page,) = write_reports([place])
    return page


class Checker(HTMLParser):
    """Collects what a browser would load, and checks that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loaded = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.loaded += [value for key, value in attributes if key in {"src", "href", "srcset"}]
        assert tag != "script"
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module", autouse=True)
def _coarse():
    """Draw with few dots, and search no minimum; what they show was looked at by people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "DPI", 30)
        patch.setattr(best, "CHEAP_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def run(_coarse, tmp_path_factory):
    place = write_run(tmp_path_factory.mktemp("report") / "my-run", ball_violations=3)
    return place, write_report(place)


def test_page_loads_nothing_from_outside(run):
    checked = Checker(run[1].read_text())
    panels = len(FIGURES) + 3  # that of convergence has three, that of lyapunov a legend
    assert len(checked.loaded) == 2 * panels  # to enlarge each, and back
    assert all(item.startswith("#") for item in checked.loaded)
    text = run[1].read_text()
    assert text.count("<svg") == panels
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    assert all(f'id="{item[1:]}"' in text for item in checked.loaded)


def test_a_figure_without_a_neighbour_is_no_larger_than_the_others(run):
    rule = re.search(r"\.figures \{[^}]*\}", run[1].read_text())[0]
    assert (
        "repeat(auto-fill" in rule
    )  # an empty place stays empty, where a flexible row would fill it


def test_figures_are_written_beside_it(run):
    for name in FIGURES:
        assert (run[0] / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "words",
    [
        "cgt1 with quantize", "my-run", "certified = false", "3 compressed arguments were outside",
        "30.0 kB",  # per agent: 30 iterations of 1000 bytes
        "240 kB",  # on wire
        "mean size 1.00 kB",  # 240000 bytes in 4 * 60 messages
        "300 B",  # diagnostics
        "finished (all iterations done)", "relative r = 1, psi = 0.5", "name = &quot;quadratic&quot;",
        "spectral gap", "100 %",
    ],
)  # fmt: skip
def test_page_says(run, words):
    assert words in run[1].read_text()


def test_seconds_by_phase_add_up(run):
    text = run[1].read_text()
    times = dict(re.findall(r"<td>([a-z]+)(?:<br>.*?)?</td><td>([0-9.]+ m?s)</td>", text))
    assert times == {
        "gradients": "30.0 ms", "compression": "60.0 ms", "communication": "120 ms",
        "other": "90.0 ms", "diagnostics": "150 ms",
    }  # fmt: skip


def test_an_interrupted_and_certified_run_says_so_and_escapes_texts(tmp_path):
    place = write_run(tmp_path, certified=True, status="running", host="<b>host</b>")
    text = write_report(place).read_text()
    assert "certified = true: the weights of V1 solve the inequalities" in text
    assert "The run has not ended" in text
    assert "<b>host</b>" not in text
    assert "&lt;b&gt;host" in text


def test_run_without_memories_lyapunov_or_known_constants(tmp_path):
    absent = [
        "tracking_error", "invariant", "compression_error_x", "compression_error_y", "lyapunov",
        *[f"lyapunov_{t}" for t in ("gap", "memory_x", "memory_y", "consensus", "tracking")],
    ]  # fmt: skip
    place = write_run(
        tmp_path, absent=absent, algorithm="dgd", compressor="identity", lyapunov="",
        lyapunov_weights={}, guarantee={}, smoothness=float("nan"), minimum_kind="exact",
    )  # fmt: skip
    checked = Checker(write_report(place).read_text())
    assert len(checked.loaded) == 2 * (4 + 2)
    assert "certified" not in (place / "report.html").read_text()


@pytest.mark.parametrize(
    "stationarity",
    [
        [1.0, float("nan"), float("inf")],
        [1e-300, 1e300],
        *(pytest.param(one, marks=pytest.mark.slow) for one in ([1.0], [0.0, 0.0])),
    ],
)
@pytest.mark.filterwarnings("error")
def test_odd_numbers_can_be_drawn(stationarity, tmp_path):
    Checker(write_report(write_run(tmp_path, stationarity)).read_text())


def test_no_run_no_report(tmp_path):
    with pytest.raises(CheckpointError, match="is not a run directory"):
        write_report(tmp_path)
