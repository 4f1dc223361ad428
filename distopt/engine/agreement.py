"""What the agents' models must have in common: parameters, precision, library (docs: models)."""

from collections.abc import Mapping, Sequence
from zlib import crc32

from distopt.core.errors import DataError
from distopt.engine.survey import Start
from distopt.problems.costs.model import Layout
from distopt.transport.base import SharedError, Transport

APART = (
    "Agents 0 and {agent} start from different parameters, and the mean of two networks is seldom a good "
    "one; seed the library before the model is made (torch.manual_seed(0)), the same on all ranks, or "
    "give x0."
)


def agree(starts: Sequence[Start], transport: Transport) -> tuple[dict[str, str], list[str]]:
    """Compare what costs tell of themselves, in `ModelCost.facts`; all processes call this together.

    Returns
    -------
    dict[str, str]
        The common facts, empty for costs that have none.
    list[str]
        Warnings.

    Raises
    ------
    SharedError
        If an agent's differ from those of agent 0.
    """
    own = {str(s.agent): dict(getattr(s.cost, "facts", {})) for s in starts}
    points = {str(s.agent): crc32(s.x0.tobytes()) for s in starts}
    told: dict[str, dict[str, str]] = {}
    begins: dict[str, int] = {}
    for facts, marks in transport.share([own, points]):
        told |= facts
        begins |= marks
    first = told["0"]
    for agent, facts in told.items():
        for key in {**first, **facts}:
            if facts.get(key) != first.get(key):
                raise SharedError(DataError(difference(agent, key, facts, first)))
    apart = [agent for agent, mark in begins.items() if mark != begins["0"]]
    return first, [APART.format(agent=apart[0])] if first and apart else []


def difference(agent: str, key: str, facts: Mapping[str, str], first: Mapping[str, str]) -> str:
    """Say in what two agents differ."""
    if key not in facts or key not in first:
        return (
            f"Agents 0 and {agent} have costs of different kinds: one is a model, the other is not."
        )
    if key == "parameters":
        found = first_difference(first[key], facts[key], "agent 0")
        return f"Agent {agent}: {found}; all need the same model."
    remedy = "install one version" if key == "library" else "all agents need the same"
    return f'Agent {agent} has {key} "{facts[key]}", but agent 0 has "{first[key]}"; {remedy}.'


def first_difference(theirs: str, own: str, whose: str) -> str:
    """Say which parameter is the first that two layouts do not share."""
    before, now = Layout.from_text(theirs).parts, Layout.from_text(own).parts
    for was, part in zip(before, now, strict=False):
        if was.name != part.name:
            return f"the parameter {part.name} stands where {whose} has {was.name}"
        if was.shape != part.shape:
            return (
                f"the parameter {part.name} has the shape {list(part.shape)}, that of {whose} "
                f"{list(was.shape)}"
            )
    return f"there are {len(now)} parameters, but {whose} has {len(before)}"
