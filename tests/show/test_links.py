"""The bytes beside a link are those that went over it: they add up to the record's own count."""

from xml.etree import ElementTree

import pytest

import distopt
from distopt.show.links import draw, links_of

STAR = [(0, 1), (0, 2), (0, 3), (0, 4)]


def finished(out, algorithm, iterations=20, **more):
    tables = {
        "problem": {"name": "quadratic", "agents": 5, "dimension": 7},
        "topology": {"graph": "star"},
        "algorithm": {"name": algorithm},
        "run": {"iterations": iterations, "checkpoint_every": 20} | more,
    }
    return distopt.run(distopt.make_config(tables, out.parent), engine="simulate", out=out)


@pytest.mark.parametrize("algorithm", ["gt", "zed", "zest"])  # zest sends letters
def test_links_add_up_to_what_was_sent_also_after_a_resume(algorithm, tmp_path):
    finished(tmp_path / "run", algorithm)
    result = distopt.resume(tmp_path / "run", engine="simulate", iterations=50)
    links = links_of(tmp_path / "run")
    assert links.edges == STAR
    assert (links.iteration, links.missing) == (50, 0)
    assert links.total == result.summary["bytes_on_wire"] > 0
    if algorithm != "zest":  # the hub sends the same to all
        assert len({links.sent[0, j] for j in range(1, 5)}) == 1


def test_the_busiest_link_is_the_widest_and_one_without_a_checkpoint_has_no_bytes(tmp_path):
    out = tmp_path / "run"
    finished(out, "zed")
    links = links_of(out)
    drawn = ElementTree.fromstring(draw(links, alone=True))
    lines = drawn.findall(".//{*}line")
    widths = {float(line.attrib["stroke-width"]) for line in lines}
    assert len(lines) == 2 * len(STAR)
    assert len(drawn.findall(".//{*}circle")) == 5
    assert max(widths) == 8.0
    assert len(widths) == len({*links.sent.values()})
    words = [title.text for title in drawn.findall(".//{*}g[@class='link']/{*}title")]
    assert words[0] == f"0 to 1: {links.sent[0, 1]} B, 1 to 0: {links.sent[1, 0]} B"
    for manifest in out.glob("checkpoints/*/manifest.json"):
        manifest.unlink()
    links = links_of(out)
    assert (links.edges, links.sent, links.total) == (STAR, None, None)
    assert "not known yet" in draw(links, alone=False)
