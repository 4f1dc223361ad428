"""What the agents' models must have in common: parameters, precision, library (docs: models)."""

from collections.abc import Mapping

from distopt.core.errors import DataError
from distopt.problems.costs.model import Layout
from distopt.transport.base import SharedError, Transport


def agree(own: Mapping[str, Mapping[str, str]], transport: Transport) -> dict[str, str]:
    """Return the common facts, empty for costs that have none; all processes call this together.

    `own` are those of this process's agents, as `ModelCost.facts` tells them, by the agents' numbers.

    Raises
    ------
    SharedError
        If an agent's differ from those of agent 0.
    """
    told: dict[str, dict[str, str]] = {}
    for facts in transport.share({agent: dict(facts) for agent, facts in own.items()}):
        told |= facts
    first = told["0"]
    for agent, facts in told.items():
        for key in {**first, **facts}:
            if facts.get(key) != first.get(key):
                raise SharedError(DataError(difference(agent, key, facts, first)))
    return first


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
