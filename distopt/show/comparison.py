"""A comparison as files: a page, its figures, and all numbers as JSON."""

from collections.abc import Sequence
from pathlib import Path

from distopt.core import units as q
from distopt.core.files import as_json, write_files
from distopt.record.reader import COMPARISON
from distopt.show import page
from distopt.show.comparison_figures import of_comparison
from distopt.show.console import parameters_line
from distopt.show.figures import png
from distopt.show.render import to_html
from distopt.studies.compare import Comparison
from distopt.studies.results import Column, Results


def write_comparison(c: Comparison, tables: Sequence[Results], out: Path) -> list[Path]:
    """Write comparison.html, comparison.json and the PNGs into a folder; return the paths.

    Raises
    ------
    DistoptError
        If the folder cannot be written.
    """
    lead, parameters = first_line(c), parameters_table(c)
    numbers = as_json(c.to_json(), indent=1)
    shown = [(table.title, to_html(table)) for table in (*tables, parameters)]
    sheets = of_comparison(c)
    (_, main), *others = shown
    *between, last = [page.section(*other) for other in others]
    text = page.page(
        c.title,
        [
            page.head(c.title, lead),
            main,
            *[page.note(sentence, warning=True) for sentence in c.failures],
            *between,
            page.section("Figures", page.figures(map(page.sheet, sheets))),
            last,
        ],
    )
    contents = {COMPARISON: text.encode(), "comparison.json": numbers.encode()}
    images = {f"{sheet.name}.png": png(sheet.whole()) for sheet in sheets}
    return write_files(out, contents | images)


def first_line(c: Comparison) -> str:
    """Describe the compared runs in one line."""
    known = [history for variant in c.variants for history in variant.histories]
    variants = q.count(len(c.variants), "variant")
    if not known:
        return variants
    problem, meta = known[0].config.get("problem", {}), known[0].meta
    data = f" {problem['dataset']}" if "dataset" in problem else ""
    graph = known[0].config.get("topology", {}).get("graph", "given")
    return (
        f"{variants} of {problem.get('name', 'one problem')}{data}, {q.count(meta['agents'], 'agent')} on "
        f"{q.a(graph + ' graph')} (spectral gap {meta['spectral_gap']:.3g}), "
        f"{q.count(meta['dimension'], 'unknown')}."
    )


def parameters_table(c: Comparison) -> Results:
    """Tabulate the resolved algorithm and compressor of each variant."""
    names = ("algorithm", "compressor")
    columns = [Column(name, name, words=True) for name in ("variant", *names)]
    rows = []
    for variant in c.variants:
        config = variant.histories[0].config if variant.histories else {}
        sections = {name: config.get(name, {"name": "-"}) for name in names}
        texts = {n: f"{s['name']}\n{parameters_line(s)}".strip() for n, s in sections.items()}
        rows.append({"variant": variant.label} | texts)
    return Results("Parameters", columns, rows)
