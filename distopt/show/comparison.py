"""A comparison as files: a page, its figures, and all numbers as JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distopt.core.files import write_files
from distopt.show import page, rounding_figures
from distopt.show.figures import comparison_bars, comparison_curves, png
from distopt.show.render import finite, to_html
from distopt.studies.compare import Comparison
from distopt.studies.results import Column, Results

CAPTIONS = {
    "runs": "f - f* of all repeats: mean, and the band that holds 80 % of them.",
    "bounds": "The mean with the bounds that apply (docs: fixed-point, bounds).",
    "curves": "{} against iterations, bytes per agent (logarithmic) and seconds; dotted lines are the "
    "accuracies of the table.",
    "bytes": "Bytes per agent to each accuracy and share of the baseline.",
}


def write_comparison(c: Comparison, tables: Sequence[Results], out: Path) -> list[Path]:
    """Write comparison.html, comparison.json and the PNGs into a folder; return the paths.

    Raises
    ------
    DistoptError
        If the folder cannot be written.
    """
    figures = {"curves": comparison_curves(c), "bytes": comparison_bars(c)}
    figures |= rounding_figures.of_comparison(c.gaps)
    images = {name: png(figure) for name, figure in figures.items()}
    return write_files(
        out,
        {
            "comparison.html": comparison_page(c, tables, images).encode(),
            "comparison.json": json.dumps(finite(c.to_json()), indent=1).encode(),
        }
        | {f"{name}.png": image for name, image in images.items()},
    )


def comparison_page(c: Comparison, tables: Sequence[Results], images: Mapping[str, bytes]) -> str:
    """Compose the page."""
    main, *others = tables
    known = [history for variant in c.variants for history in variant.histories]
    lead = f"{len(c.variants)} variants"
    if known:
        problem, meta = known[0].config.get("problem", {}), known[0].meta
        data = f" {problem['dataset']}" if "dataset" in problem else ""
        graph = known[0].config.get("topology", {}).get("graph", "given")
        lead += (
            f" of {problem.get('name', 'one problem')}{data}, {meta['agents']} agents on a {graph} "
            f"graph (spectral gap {meta['spectral_gap']:.3g}), {meta['dimension']} unknowns."
        )
    drawn = [
        page.figure(name, image, CAPTIONS[name].format(c.symbol), wide=True)
        for name, image in images.items()
    ]
    parts = [
        page.head(c.title, lead),
        to_html(main),
        *[page.note(sentence, warning=True) for sentence in c.failures],
        *[page.section(table.title, to_html(table)) for table in others],
        page.section("Figures", page.figures(drawn)),
        page.section("Parameters", to_html(parameters_table(c))),
    ]
    return page.page(c.title, parts)


def parameters_table(c: Comparison) -> Results:
    """Tabulate the resolved algorithm and compressor of each variant."""
    names = ("algorithm", "compressor")
    columns = [Column(name, name, words=True) for name in ("variant", *names)]
    rows = []
    for variant in c.variants:
        config = variant.histories[0].config if variant.histories else {}
        rows.append({"variant": variant.label} | {n: in_words(config.get(n, {})) for n in names})
    return Results("Parameters", columns, rows)


def in_words(table: Mapping[str, Any]) -> str:
    """Write the keys of a section in one line under its name."""
    rest = ", ".join(f"{key} = {value}" for key, value in table.items() if key != "name")
    return f"{table.get('name', '-')}\n{rest}".strip()
