"""A place of rounding: which format, which mode."""

from collections.abc import Callable
from typing import Annotated, Any

from distopt.errors import ConfigError
from distopt.fixedpoint.arithmetic import Mode, Rounding
from distopt.fixedpoint.format import Format
from distopt.parameters import Field, field_names, nearest, parameters, show


@parameters("place")
class Place:
    """What happens at one place where numbers are rounded: to a format, in a mode.

    >>> Place(format="Q3.5", mode="SR").numbers
    Format(integer_bits=3, fraction_bits=5)
    """

    format: str | None = None  # such as "Q8.8"; what is left away depends on the place
    mode: Mode = "RN"
    eps: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of SR_eps and signed_SR_eps only

    def __post_init__(self) -> None:
        if self.eps and self.mode not in {"SR_eps", "signed_SR_eps"}:
            raise ConfigError(
                f'place.eps = {self.eps:g} means nothing with place.mode = "{self.mode}"; '
                'accepted with "SR_eps" and "signed_SR_eps".'
            )
        if self.format is not None:
            try:
                Format.parse(self.format)
            except ConfigError as error:
                raise ConfigError(f"place.{error}") from None

    @property
    def rounding(self) -> Rounding:
        """The mode with its eps."""
        return Rounding(self.mode, eps=self.eps)

    @property
    def numbers(self) -> Format | None:
        """The format, if one was given."""
        return None if self.format is None else Format.parse(self.format)


def place_of(section: str) -> Callable[[Any], Any]:
    """Make the validator of a field that is a `Place`, given as such or as a table."""

    def validate(given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = field_names(Place)
        for key in given:
            if key not in known:
                raise ConfigError(
                    f"{section}.{key} is not known{nearest(key, known) or '.'} "
                    f"Accepted: {', '.join(known)}."
                )
        try:
            return Place(**given)
        except ConfigError as error:
            raise ConfigError(str(error).replace("place.", f"{section}.")) from None

    return validate


def refuse_mode(place: Place, section: str, mode: str, reason: str) -> None:
    """Raise if a place has a mode that it cannot have."""
    if place.mode == mode:
        raise ConfigError(f"{section}.mode = {show(mode)} {reason}; accepted: the other modes.")
