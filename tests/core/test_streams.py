"""The table of streams: whatever is drawn for one purpose is drawn for no other."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

import distopt
from distopt.compressors.blockwise import MOST_BLOCKS
from distopt.core.streams import Stream


def test_no_two_purposes_share_a_number():
    ranges = sorted((int(s), s + s.width, s.name) for s in Stream.__members__.values())
    for (_, end, name), (first, _, other) in pairwise(ranges):
        assert end <= first, f"{name} reaches into {other}"
    assert ranges[-1][1] <= 1 << 32, "a stream is one word of a key"


def test_the_blocks_of_a_message_fit_theirs():
    within = Stream.CHANNEL + Stream.CHANNEL.width  # of a block: its vectors, what is kept, noise
    assert within <= 1 << 16
    assert Stream.BLOCKS.width >= MOST_BLOCKS << 16


@pytest.mark.parametrize("stream", Stream)
def test_a_member_is_its_first_number(stream):
    assert stream.width >= 1
    assert int(stream) == stream.value


def test_every_stream_of_the_package_has_a_name():
    """A number in a key would be missing from the table; laws of plug-ins may take any."""
    package = Path(distopt.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if path.name != "laws.py":
            found = re.findall(r"make_key\([^(),]*,[^(),]*, \d+[,)]", path.read_text())
            assert found == [], path
