"""Parameter classes: validation, defaults and the sentences about what is wrong."""

from dataclasses import FrozenInstanceError, replace
from typing import Annotated, Literal

import numpy as np
import pytest

from distopt.core.errors import ConfigError
from distopt.core.parameters import Field, defaults, nearest, parameters


@parameters("thing")
class Thing:
    """An example."""

    size: Annotated[int, Field(ge=1, le=9)]
    step: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    kind: Literal["round", "square"] = "round"
    loud: bool = False
    name: str = "x"
    parts: Annotated[tuple[int, ...], Field(default_factory=tuple)] = Field(default_factory=tuple)


def test_values_are_converted_and_frozen():
    thing = Thing(size=3, step=1)
    assert thing.step == 1.0
    assert replace(thing, size=4) == Thing(size=4, step=1.0)
    assert Thing(size=np.int64(3), step=np.float64(2), parts=[np.int64(1), 2]).parts == (1, 2)
    with pytest.raises(FrozenInstanceError):
        thing.size = 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "thing.size is missing; it has no default."),
        ({"size": 0}, "thing.size = 0 is not acceptable; accepted: a number >= 1."),
        ({"size": 10}, "thing.size = 10 is not acceptable; accepted: a number <= 9."),
        ({"size": "3"}, 'thing.size = "3" is not acceptable; accepted: a whole number.'),
        ({"size": 3.0}, "thing.size = 3.0 is not acceptable; accepted: a whole number."),
        ({"size": 1, "step": "0.1"},
         "thing.step = \"0.1\" is not acceptable; accepted: a number or 'auto'."),
        ({"size": 1, "loud": "yes"},
         'thing.loud = "yes" is not acceptable; accepted: true or false.'),
        ({"size": 1, "parts": 3}, "thing.parts = 3 is not acceptable; accepted: a list."),
        ({"size": "many"}, 'thing.size = "many" is not acceptable; accepted: a whole number.'),
        ({"size": 1, "kind": "oval"},
         "thing.kind = \"oval\" is not acceptable; accepted: 'round' or 'square'."),
        ({"size": 1, "step": -1},
         "thing.step = -1 is not acceptable; accepted: a number > 0.0 or 'auto'."),
        ({"size": 1, "loud": "perhaps"},
         'thing.loud = "perhaps" is not acceptable; accepted: true or false.'),
        ({"size": 1, "name": 3}, "thing.name = 3 is not acceptable; accepted: a string in quotes."),
        ({"size": 1, "siez": 2},
         'thing.siez is not known; did you mean "size"? '
         "Accepted: kind, loud, name, parts, size, step."),
        ({"size": 1, "zzz": 2},
         "thing.zzz is not known. Accepted: kind, loud, name, parts, size, step."),
    ],
)  # fmt: skip
def test_a_wrong_argument_gives_a_sentence(arguments, sentence):
    with pytest.raises(ConfigError) as caught:
        Thing(**arguments)
    assert str(caught.value) == sentence


def test_defaults_are_listed():
    found = defaults(Thing)
    assert found["step"] == "auto"
    assert found["parts"] == ()
    assert list(found) == ["size", "step", "kind", "loud", "name", "parts"]


def test_nearest_needs_some_likeness():
    assert nearest("topk", ["top_k", "cast"]) == '; did you mean "top_k"?'
    assert nearest("zzz", ["top_k", "cast"]) == ""
