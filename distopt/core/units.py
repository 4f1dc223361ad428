"""Numbers as people read them: bytes, seconds, rates, shares and small values."""

import math


def nbytes(count: float | None) -> str:
    """Write a number of bytes with a decimal unit.

    >>> nbytes(999), nbytes(999.7), nbytes(12_345), nbytes(9.6e6)
    ('999 B', '1.00 kB', '12.3 kB', '9.60 MB')
    """
    if count is None or not math.isfinite(count):
        return "-"
    if count < 999.5:
        return f"{count:.0f} B"
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if count >= 999.5:
            count, unit = count / 1000, larger
    return f"{three_digits(count)} {unit}"


def seconds(span: float | None) -> str:
    """Write a time span.

    >>> seconds(0.0123), seconds(3.21), seconds(75), seconds(4020)
    ('12.3 ms', '3.21 s', '1 min 15 s', '1 h 07 min')
    """
    if span is None or not math.isfinite(span):
        return "-"
    if span < 1:
        return f"{three_digits(1000 * span)} ms"
    if span < 60:
        return f"{three_digits(span)} s"
    minutes, rest = divmod(round(span), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def share(part: float | None) -> str:
    """Write a ratio as a percentage.

    >>> share(0.0834), share(1.0), share(12.5)
    ('8.34 %', '100 %', '1250 %')
    """
    if part is None or not math.isfinite(part):
        return "-"
    return f"{three_digits(100 * part)} %"


def rate(bits_per_second: float | str | None) -> str:
    """Write the rate of a link; a word such as "never" stays what it is.

    >>> rate(2.5e8), rate("never"), rate(None)
    ('250 Mbit/s', 'never', '-')
    """
    if bits_per_second is None or isinstance(bits_per_second, str):
        return bits_per_second or "-"
    power, unit = max(
        (p, u)
        for p, u in ((0, ""), (3, "k"), (6, "M"), (9, "G"))
        if bits_per_second >= 10**p or not p
    )
    return f"{bits_per_second / 10**power:.3g} {unit}bit/s"


def small(value: float | None, digits: int = 2) -> str:
    """Write a value whose size matters more than its digits.

    >>> small(1.4873e-05), small(0.0), small(float("nan"))
    ('1.5e-05', '0', 'nan')
    """
    if value is None:
        return "-"
    return "0" if value == 0 else f"{value:.{digits - 1}e}" if math.isfinite(value) else f"{value}"


def count(number: float, noun: str) -> str:
    """Write a number of things.

    >>> count(1, "decision"), count(2.0, "agent")
    ('1 decision', '2 agents')
    """
    return f"{number:.0f} {noun}{'s' * (number != 1)}"


def a(noun: str) -> str:
    """Write a noun with its article.

    >>> a("ring graph"), a("erdos_renyi graph")
    ('a ring graph', 'an erdos_renyi graph')
    """
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def power(value: float) -> str:
    """Write an accuracy as people type it.

    >>> power(1e-10), power(2.5e-7), power(1e-4)
    ('1e-10', '2.5e-7', '1e-4')
    """
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def three_digits(value: float) -> str:
    """Write three significant digits without an exponent.

    >>> three_digits(1.234), three_digits(12.34), three_digits(1234)
    ('1.23', '12.3', '1234')
    """
    if value >= 99.95 or value == 0:
        return f"{value:.0f}"
    if value >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.9995 else f"{value:.3g}"


def list_words(words: list[str], limit: int = 8) -> str:
    """Join words with commas, the last with "and"; more than `limit` are counted.

    >>> list_words(["a", "b", "c"]), list_words(["a", "b", "c"], limit=2)
    ('a, b and c', 'a, b and 1 more')
    """
    if len(words) > limit:
        words = [*words[:limit], f"{len(words) - limit} more"]
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
