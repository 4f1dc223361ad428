"""Links as people write them, ``100mbit``, ``1gbit+10ms``, ``unlimited``, and as numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from distopt.core.errors import ConfigError

UNITS = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
SLOWEST, FASTEST = 1e4, 1e12  # bit/s
MOST_LATENCY = 10.0  # s


@dataclass(frozen=True)
class Link:
    """The most that every host may send, and receive, and how long a message is on its way."""

    name: str
    rate: float | None  # bit/s; None: as fast as it goes
    latency: float = 0.0  # s, one way


UNLIMITED = Link("unlimited", None)


def parse_link(text: str) -> Link:
    """Read one rate, with a latency if there is one.

    >>> parse_link("100mbit").rate
    100000000.0
    >>> parse_link("2.5 Gbit/s").name
    '2.5gbit'
    >>> parse_link("25mbit+10ms").latency
    0.01

    Raises
    ------
    ConfigError
        If it is not a rate between 10kbit and 1000gbit, or the latency is not one from 0 to 10 s.
    """
    rate, _, wait = text.strip().lower().replace(" ", "").partition("+")
    if not wait:
        return parse_rate(rate, text)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)ms", wait)
    seconds = float(found[1]) / 1e3 if found else -1.0
    if not 0 <= seconds <= MOST_LATENCY:
        raise ConfigError(
            f"--link {text!r} has a latency that is none; accepted after the +: milliseconds from 0 to "
            "10000, one way, such as 25mbit+10ms."
        )
    link = parse_rate(rate, text)
    return Link(f"{link.name}+{wait}", link.rate, seconds)


def parse_rate(plain: str, text: str) -> Link:
    """Read the rate of a link; `text` is what the user wrote."""
    plain = plain.removesuffix("/s").removesuffix("ps")
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
    """Read links separated by commas; each once."""
    links = [parse_link(part) for part in text.split(",") if part.strip()]
    if not links:
        raise ConfigError("--link names no rate; for example --link 100mbit,1gbit,unlimited.")
    return list(dict.fromkeys(links))


def one_latency(links: Sequence[Link]) -> Link:
    """Return a link of no rate with the latency of all these, which a test bed has from its making.

    Raises
    ------
    ConfigError
        If they differ.
    """
    found = {link.latency: link for link in links}
    if len(found) > 1:
        names = " and ".join(link.name for link in found.values())
        raise ConfigError(
            f"--link has {names}, but the links of a test bed have one latency; measure each latency on "
            "its own."
        )
    (latency,) = found
    return Link(f"{UNLIMITED.name}+{latency * 1e3:g}ms", None, latency) if latency else UNLIMITED
