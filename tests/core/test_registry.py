"""Names, their classes, plugins and the sentences about unknown names."""

from importlib.metadata import EntryPoint

import pytest

from distopt.core import registry
from distopt.core.errors import ConfigError
from distopt.core.registry import Registry

TABLE = Registry(
    "things", "thing",
    {"ordered": "collections:OrderedDict", "counter": "collections:Counter", "gone": "nowhere:X"},
)  # fmt: skip


def test_names_are_sorted_and_iterable():
    assert TABLE.names() == list(TABLE) == ["counter", "gone", "ordered"]


def test_a_name_is_imported_when_it_is_used():
    from collections import Counter

    assert TABLE.get("counter") is Counter
    assert TABLE.name_of(Counter) == "counter"
    assert TABLE.name_of(dict) == "dict"
    with pytest.raises(ModuleNotFoundError):
        TABLE.get("gone")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ordred", 'thing.name = "ordred" is not known; did you mean "ordered"? '
                   "Known: counter, gone, ordered."),
        ("xyz", 'thing.name = "xyz" is not known. Known: counter, gone, ordered.'),
    ],
)  # fmt: skip
def test_an_unknown_name_gives_a_sentence(name, sentence):
    with pytest.raises(ConfigError) as caught:
        TABLE.get(name)
    assert str(caught.value) == sentence


def test_plugins_are_found_and_cannot_take_a_name_of_ours(monkeypatch):
    asked = []

    def points(group):
        assert group == "distopt.others"
        asked.append(group)
        return [EntryPoint("mine", "fractions:Fraction", group),
                EntryPoint("counter", "fractions:Fraction", group)]  # fmt: skip

    monkeypatch.setattr(registry, "entry_points", points)
    from collections import Counter
    from fractions import Fraction

    table = Registry("others", "thing", {"counter": "collections:Counter"})
    assert table.get("counter") is Counter
    assert table.name_of(Counter) == "counter"
    assert asked == [], "looking takes its time, so it is left out where it is not needed"
    assert table.get("mine") is Fraction
    assert table.name_of(Fraction) == "mine"
    assert table.names() == ["counter", "mine"]
    assert len(asked) == 1
