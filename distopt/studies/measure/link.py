"""Link rates as people write them, ``100mbit``, ``1gbit``, ``unlimited``, and as numbers."""

import re
from dataclasses import dataclass

from distopt.core.errors import ConfigError

UNITS = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
SLOWEST, FASTEST = 1e4, 1e12  # bit/s


@dataclass(frozen=True)
class Link:
    """The most that every host may send, and receive."""

    name: str
    rate: float | None  # bit/s; None: as fast as it goes


UNLIMITED = Link("unlimited", None)


def parse_link(text: str) -> Link:
    """Read one rate.

    >>> parse_link("100mbit").rate
    100000000.0
    >>> parse_link("2.5 Gbit/s").name
    '2.5gbit'

    Raises
    ------
    ConfigError
        If it is not a rate between 10kbit and 1000gbit.
    """
    plain = text.strip().lower().replace(" ", "").removesuffix("/s").removesuffix("ps")
    if plain == UNLIMITED.name:
        return UNLIMITED
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?bit)", plain)
    rate = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not SLOWEST <= rate <= FASTEST:
        raise ConfigError(
            f"--link {text!r} is not a rate; accepted: a number and kbit, mbit or gbit (bits a second, "
            'from 10kbit to 1000gbit) such as 100mbit, or "unlimited".'
        )
    return Link(plain, rate)


def parse_links(text: str) -> list[Link]:
    """Read rates separated by commas; each once."""
    links = [parse_link(part) for part in text.split(",") if part.strip()]
    if not links:
        raise ConfigError("--link names no rate; for example --link 100mbit,1gbit,unlimited.")
    return list(dict.fromkeys(links))
