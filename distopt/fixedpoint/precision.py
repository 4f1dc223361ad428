"""The precision of one rounding: which format, which mode."""

from collections.abc import Callable
from typing import Annotated, Any

from distopt.core.errors import ConfigError
from distopt.core.parameters import Field, field_names, parameters, require_known
from distopt.fixedpoint.arithmetic import Mode, Rounding
from distopt.fixedpoint.format import Format


@parameters("precision")
class Precision:
    """To which format numbers are rounded, and in which mode.

    >>> Precision(format="Q3.5", mode="SR").numbers
    Format(integer_bits=3, fraction_bits=5)
    """

    format: str | None = None  # such as "Q8.8"; whoever rounds knows what None stands for
    mode: Mode = "RN"
    eps: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of SR_eps and signed_SR_eps only

    def __post_init__(self) -> None:
        try:
            self.rounding  # noqa: B018
        except ConfigError as error:
            raise ConfigError(str(error).replace("rounding.", "precision.")) from None
        try:
            self.numbers  # noqa: B018
        except ConfigError as error:
            raise ConfigError(f"precision.{error}") from None

    @property
    def rounding(self) -> Rounding:
        """The mode with its eps."""
        return Rounding(self.mode, eps=self.eps)

    @property
    def numbers(self) -> Format | None:
        """The format, if one was given."""
        return None if self.format is None else Format.parse(self.format)


def precision_of(section: str) -> Callable[[Any], Any]:
    """Make the validator of a field that is a `Precision`, given as such or as a table."""

    def validate(given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        require_known(section, given, field_names(Precision))
        try:
            return Precision(**given)
        except ConfigError as error:
            raise ConfigError(str(error).replace("precision.", f"{section}.")) from None

    return validate
