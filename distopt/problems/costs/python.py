"""The user's own cost, from a Python file."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from distopt.core.errors import ConfigError
from distopt.core.files import locate
from distopt.core.parameters import Field, nearest, parameters
from distopt.core.usercode import blame, load
from distopt.problems.costs.base import Cost, Family
from distopt.problems.costs.guarded import guard


@parameters("problem")
class Python(Family):
    """Costs that `factory` in `file` makes, called as ``factory(agent, agents, **options)``.

    A factory with a parameter named ``seed`` gets ``problem.seed`` in it, unless the options have one.

    What it returns needs ``dimension``, ``value(x)`` and ``gradient(x, out)``; see
    `distopt.problems.costs.base.Cost` for what else is used where it exists (docs: costs, python).
    """

    file: str
    factory: str = "make_cost"
    options: dict[str, Any] = Field(default_factory=dict)

    def cost(self, agent: int, agents: int, seed: int) -> Cost:
        make, options = self._make(seed)
        try:
            cost = make(agent, agents, **options)
        except BaseException as error:
            blame(error, Path(self.file), f"{self.factory}({agent}, {agents}, ...)")
        place = f"The cost of agent {agent} ({self.factory} of {self.file})"
        return guard(cost, place, Path(self.file))

    def located(self, folder: Path) -> Self:
        path = locate(self.file, folder)
        if not path.is_file():
            raise ConfigError(f'problem.file = "{self.file}" is not a file; looked for {path}.')
        return replace(self, file=str(path))

    def _make(self, seed: int) -> tuple[Callable[..., Any], dict[str, Any]]:
        """Find the factory and its keywords, and see that it takes the arguments it will get."""
        module = load(Path(self.file).absolute(), "problem.file")
        make: Callable[..., Any] | None = getattr(module, self.factory, None)
        if not callable(make):
            known = [name for name, value in vars(module).items() if callable(value)]
            raise ConfigError(
                f'problem.factory = "{self.factory}" is not a function in '
                f"{self.file}{nearest(self.factory, known) or '.'}"
            )
        options = self.options
        try:
            signature = inspect.signature(make)
            if "seed" in signature.parameters:
                options = {"seed": seed} | options
            signature.bind(0, 1, **options)
        except TypeError as error:
            raise ConfigError(
                f"{self.file}: {self.factory} must take (agent, agents) and the keys of "
                f"[problem.options]; {error}."
            ) from None
        except ValueError:
            pass  # a compiled function without a signature; the call will show
        return make, options
