"""A comparison as people read it: one table, two figures, one page, one JSON file."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from distopt.core import units as q
from distopt.core.errors import DistoptError
from distopt.show import page, rounding_figures
from distopt.show.console import finite
from distopt.show.figures import comparison_bars, comparison_curves, png
from distopt.studies import rounding
from distopt.studies.compare import Comparison, Row, Target

LOST = "*"  # marks an accuracy that was not kept


def header(comparison: Comparison) -> list[str]:
    """Return the titles of the columns; further lines of a title explain the lines of the cells."""
    symbol = comparison.symbol
    shares = "% of baseline" if comparison.baseline else ""
    if not comparison.baseline_is_best:
        shares += " | best"
    return [
        "variant\nconverged",
        *[
            f"{symbol} ≤ {q.power(a)}\niterations, bytes\n{shares}".rstrip()
            for a in comparison.accuracies
        ],
        "bits per\ncoordinate",
        f"final {symbol}",
        "seconds\ndiagnostics",
        "notes",
    ]


def cells(comparison: Comparison, row: Row) -> list[str]:
    """Return the cells of one variant."""
    bits = row.middle(lambda h: h.bits)
    return [
        f"{row.label}\n{row.converged}/{len(row.entries)}",
        *[target_cell(target, comparison.baseline_is_best) for target in row.targets],
        "-" if bits is None else f"{bits:.3g}",
        q.small(row.middle(lambda h: h.last(comparison.measure))),
        f"{q.seconds(row.middle(lambda h: h.last('seconds')))}\n"
        f"{q.seconds(row.middle(lambda h: h.last('seconds_diagnostics')))}",
        notes(row),
    ]


def target_cell(target: Target, one_share: bool) -> str:
    """Write what one accuracy took."""
    if target.iterations is None:
        return "-"
    mark = LOST if target.held < target.reached else ""
    some = f" ({target.reached}/{target.runs})" if target.reached < target.runs else ""
    ratios = [target.to_baseline] if one_share else [target.to_baseline, target.to_uncompressed]
    shares = " | ".join(q.share(ratio) for ratio in ratios if ratio is not None)
    return (
        f"{target.iterations:.0f}{mark}, {q.nbytes(target.bytes_per_agent)}{some}\n{shares}".strip()
    )


def notes(row: Row) -> str:
    """Write what else a reader must know of a variant."""
    found = [row.status] if row.failures else []
    violations = sum(h.last("ball_violations", 0) for h in row.histories)
    if violations:
        found.append(f"{violations:.0f} outside ball")
    if row.histories and all(h.meta["certified"] for h in row.histories):
        found.append("certified")
    return "\n".join(found)


def remarks(comparison: Comparison) -> list[str]:
    """List the sentences that belong under the table."""
    found: list[str] = []
    if comparison.baseline:
        sentence = "Bytes are those sent per agent, a broadcast counted once; "
        if comparison.baseline_is_best:
            found.append(f"{sentence}their share is of {comparison.baseline}.")
        else:
            best: dict[str, list[str]] = {}
            for accuracy, name in comparison.references.items():
                best.setdefault(name, []).append(q.power(accuracy))
            named = "; ".join(f"{name} to {', '.join(to)}" for name, to in best.items())
            found.append(
                f"{sentence}the first share is of {comparison.baseline}, the second of the best "
                f"uncompressed variant ({named})."
            )
    if any(t.held < t.reached for row in comparison.rows for t in row.targets):
        found.append(f"{LOST} {comparison.symbol} rose above this accuracy again later in the run.")
    if any(len(row.entries) > 1 for row in comparison.rows):
        found.append("Several seeds: medians over the runs that got there.")
    if not any("certified" in notes(row) for row in comparison.rows):
        found.append(
            "No variant is certified: the steps are larger than those with a proven Lyapunov function."
        )
    return found


def failures(comparison: Comparison) -> list[str]:
    """List what went wrong."""
    return [f"{row.label}: {failure}" for row in comparison.rows for failure in row.failures]


def rich_tables(comparison: Comparison, width: int) -> list[Table]:
    """Draw the table for a terminal; one that is too narrow gets its columns in several parts."""
    titles, rows = header(comparison), [cells(comparison, row) for row in comparison.rows]
    tables = fitted(comparison.title, titles, rows, width)
    if found := rounding.all_gaps(comparison):
        tables += fitted("f - f* in fixed point", *rounding.table(found), width)
    return tables


def fitted(title: str, titles: list[str], rows: list[list[str]], width: int) -> list[Table]:
    """Draw one table, in several parts where it is too wide."""
    widths = [
        3 + max(len(line) for cell in column for line in cell.split("\n"))
        for column in zip(titles, *rows, strict=True)
    ]
    parts: list[list[int]] = [[0]]
    for number in range(1, len(titles)):
        taken = sum(widths[i] for i in parts[-1])
        if len(parts[-1]) > 1 and taken + widths[number] > width:
            parts.append([0])
        parts[-1].append(number)
    return [draw("" if number else title, titles, rows, part) for number, part in enumerate(parts)]


def draw(title: str, titles: list[str], rows: list[list[str]], columns: list[int]) -> Table:
    """Draw some columns."""
    table = Table(title=title or None, title_justify="left", title_style="bold", pad_edge=False)
    for number in columns:
        left = number == 0 or titles[number] == "notes"
        table.add_column(titles[number], justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*[row[number] for number in columns], end_section=True)
    return table


def write_comparison(comparison: Comparison, out: Path) -> list[Path]:
    """Write comparison.json, comparison.html and the PNGs into a folder; return the paths.

    Raises
    ------
    DistoptError
        If the folder cannot be written.
    """
    curves, bars = png(comparison_curves(comparison)), png(comparison_bars(comparison))
    rounded = rounding_images(comparison)
    contents: dict[str, bytes] = {
        "comparison.html": comparison_page(comparison, curves, bars, rounded).encode(),
        "comparison.json": json.dumps(finite(comparison.to_json()), indent=1).encode(),
        "curves.png": curves,
        "bytes.png": bars,
    } | {f"{name}.png": image for name, image in rounded.items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise DistoptError(f"{out} cannot be written: {error.strerror}.") from None
    return [out / name for name in contents]


CAPTIONS = {
    "runs": "f - f* of all repeats: mean, and the band that holds 80 % of them.",
    "bounds": "The mean with the bounds that apply (docs: fixed-point, bounds).",
}


def rounding_images(comparison: Comparison) -> dict[str, bytes]:
    """Draw the figures of variants in fixed point, if there are any."""
    found = rounding.all_gaps(comparison)
    if not found:
        return {}
    drawn = {"runs": rounding_figures.runs(found), "bounds": rounding_figures.bounded(found)}
    return {name: png(figure) for name, figure in drawn.items() if figure is not None}


def comparison_page(
    comparison: Comparison, curves: bytes, bars: bytes, rounded: dict[str, bytes]
) -> str:
    """Compose the page."""
    known = [h for row in comparison.rows for h in row.histories]
    lead = f"{len(comparison.rows)} variants"
    if known:
        problem, meta = known[0].config.get("problem", {}), known[0].meta
        data = f" {problem['dataset']}" if "dataset" in problem else ""
        graph = known[0].config.get("topology", {}).get("graph", "given")
        lead += (
            f" of {problem.get('name', 'one problem')}{data}, {meta['agents']} agents on a {graph} "
            f"graph (spectral gap {meta['spectral_gap']:.3g}), {meta['dimension']} unknowns."
        )
    parts = [
        page.head(comparison.title, lead),
        page.table(header(comparison), [cells(comparison, row) for row in comparison.rows]),
        page.remarks(remarks(comparison)),
        *[page.note(sentence, warning=True) for sentence in failures(comparison)],
        *(
            [
                page.section(
                    "Fixed point: f - f*", page.table(*rounding.table(rounding.all_gaps(comparison)))
                )
            ]
            if rounded
            else []
        ),
        page.section(
            "Figures",
            page.figures(
                [
                    *[page.figure(n, image, CAPTIONS[n], wide=True) for n, image in rounded.items()],
                    page.figure(
                        "curves", curves,
                        f"{comparison.symbol} against iterations, bytes per agent (logarithmic) and "
                        "seconds; dotted lines are the accuracies of the table.", wide=True,
                    ),
                    page.figure(
                        "bytes", bars, "Bytes per agent to each accuracy and share of the baseline.",
                        wide=True,
                    ),
                ]
            ),
        ),
        page.section("Parameters", parameters_table(comparison)),
    ]  # fmt: skip
    return page.page(comparison.title, parts)


def parameters_table(comparison: Comparison) -> str:
    """Tabulate the resolved algorithm and compressor of each variant."""
    rows = []
    for row in comparison.rows:
        config: dict[str, Any] = row.histories[0].config if row.histories else {}
        rows.append(
            (row.label, *[written(config.get(key, {})) for key in ("algorithm", "compressor")])
        )
    return page.table(("variant", "algorithm", "compressor"), rows, words=True)


def written(table: dict[str, Any]) -> str:
    """Write the keys of a section in one line under its name."""
    rest = ", ".join(f"{key} = {value}" for key, value in table.items() if key != "name")
    return f"{table.get('name', '-')}\n{rest}".strip()
