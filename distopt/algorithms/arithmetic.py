"""The section [arithmetic]: the formats in which tracking methods compute in fixed point."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from distopt.core.errors import ConfigError
from distopt.core.parameters import Field, field_names, parameters, require_known
from distopt.fixedpoint.format import Format
from distopt.fixedpoint.precision import Precision, precision_of


@parameters("arithmetic")
class Arithmetic:
    """Formats and modes of x, of the tracker y and of the gradient; each needs a format."""

    x: Annotated[Precision, BeforeValidator(precision_of("arithmetic.x"))] = Field(
        default_factory=Precision
    )
    y: Annotated[Precision, BeforeValidator(precision_of("arithmetic.y"))] = Field(
        default_factory=Precision
    )
    gradient: Annotated[Precision, BeforeValidator(precision_of("arithmetic.gradient"))] = Field(
        default_factory=Precision
    )

    def __post_init__(self) -> None:
        for name in field_names(Arithmetic):
            precision: Precision = getattr(self, name)
            if precision.format is None:
                raise ConfigError(
                    f'arithmetic.{name}.format is missing; such as {{ format = "Q4.12" }}.'
                )
            if precision.mode == "signed_SR_eps":
                raise ConfigError(
                    f'arithmetic.{name}.mode = "signed_SR_eps" would need a direction; accepted: the '
                    "other modes."
                )
        if self.format_of("gradient").fraction_bits > self.format_of("y").fraction_bits:
            raise ConfigError(
                f'arithmetic.gradient.format = "{self.gradient.format}" has more fraction bits than '
                f'arithmetic.y.format = "{self.y.format}", so y could not follow it exactly; accepted: '
                "as many or fewer."
            )

    def format_of(self, name: str) -> Format:
        """Return the format of "x", "y" or "gradient"."""
        return Format.parse(getattr(self, name).format)


def arithmetic_of(given: Any) -> Any:
    """Make the arithmetic of the section [arithmetic]."""
    if not isinstance(given, dict):
        return given
    require_known("arithmetic", given, field_names(Arithmetic))
    return Arithmetic(**given)


ArithmeticField = Annotated[Arithmetic | None, BeforeValidator(arithmetic_of)]
