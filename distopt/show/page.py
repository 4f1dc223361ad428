"""Self-contained HTML pages: one file, no script, no link to anything outside."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distopt.show.figures import Sheet

CSS = """
:root { --ink: #1f2933; --pale: #5f6b76; --line: #dfe3e8; --accent: #0072B2; --ground: #f6f7f9;
        --sheet: #fff; --grey: #777; --grid: #ddd; color-scheme: light dark;
        --c0: #0072B2; --c1: #D55E00; --c2: #009E73; --c3: #CC79A7; --c4: #E69F00; --c5: #56B4E9;
        --c6: #000; --c7: #8A8A8A; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --pale: #9ba7b3; --line: #343c45; --accent: #56B4E9; --ground: #14181c;
          --sheet: #1d2329; --grey: #8b949e; --grid: #39424c;
          --c0: #4C9FE6; --c1: #F27D33; --c2: #2EC795; --c3: #E09BC3; --c4: #F0B429; --c5: #9ADAFF;
          --c6: #fff; --c7: #9A9A9A; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
       font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 40px 0 12px; }
.lead { color: var(--pale); margin: 0 0 24px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 12px; }
.card { background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; padding: 11px 13px; }
.card b { display: block; font-size: 18px; font-weight: 600; white-space: nowrap; }
.card span { color: var(--pale); font-size: 13px; }
.note { background: var(--sheet); border: 1px solid var(--line); border-left: 4px solid var(--accent);
        border-radius: 6px; padding: 10px 14px; margin: 12px 0; }
.warn { border-left-color: #D55E00; }
.remark { color: var(--pale); font-size: 14px; margin: 6px 2px; }
.figures { display: grid; gap: 16px;
           grid-template-columns: repeat(auto-fill, minmax(min(420px, 100%), 1fr)); }
figure { margin: 0; background: var(--sheet); border: 1px solid var(--line); border-radius: 8px;
         padding: 14px; min-width: 0; }
figure.wide { grid-column: 1 / -1; }
.panels { display: grid; gap: 8px 20px; align-items: center;
          grid-template-columns: repeat(auto-fit, minmax(min(280px, 100%), 1fr)); }
.panels.square { grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); }
.panels.row { display: flex; flex-wrap: wrap; justify-content: center; }
.panels.row .panel { flex: 1 1 420px; max-width: 860px; }
.panels .panel.legend { flex: 0 1 auto; width: 210px; max-width: 100%; }
.panels.square .panel.legend { width: 300px; }
.panel { min-width: 0; }
.zoom { display: block; cursor: zoom-in; }
.zoom svg { display: block; width: 100%; height: auto; max-height: 560px; }
.close { display: none; }
.panel:target { position: fixed; inset: 0; z-index: 1; overflow: auto; padding: 48px 16px 16px;
                background: var(--sheet); }
.panel:target .zoom { cursor: default; }
.panel:target svg { min-width: 720px; max-height: calc(100vh - 70px); }
.panel:target .close { display: block; position: fixed; top: 12px; right: 20px; color: var(--accent); }
figcaption { color: var(--pale); font-size: 13.5px; margin-top: 8px; }
.scroll { overflow-x: auto; background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; border-bottom: 1px solid var(--line);
         vertical-align: top; white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
th { color: var(--pale); font-weight: 600; white-space: normal; }
th:first-child, td:first-child, .words { text-align: left; }
td small { color: var(--pale); }
td.words { white-space: normal; overflow-wrap: break-word; min-width: 7.5em; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
pre { background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; padding: 14px;
      overflow-x: auto; font: 13px/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
.columns { display: grid; gap: 0 24px;
           grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
.columns > div { min-width: 0; }
@media (max-width: 600px) { main { padding: 20px 14px 40px; } th, td { padding: 6px 7px; }
  td:first-child { white-space: normal; } }
@media print { body { background: #fff; } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Put a page together."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def head(title: str, lead: str) -> str:
    """Write the title and a line under it."""
    return f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>'


def section(title: str, *parts: str) -> str:
    """Write a heading and its content."""
    return "\n".join([f"<h2>{escape(title)}</h2>", *parts])


def cards(numbers: Mapping[str, str]) -> str:
    """Show the numbers that matter most."""
    inner = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in numbers.items()
    )
    return f'<div class="cards">{inner}</div>'


def note(text: str, warning: bool = False) -> str:
    """Write a sentence that must be seen."""
    return f'<p class="note{" warn" if warning else ""}">{escape(text)}</p>'


def sheet(sheet: "Sheet") -> str:
    """Show a figure panel by panel; each panel can be enlarged, without a script."""
    drawn, parts = sheet.parts(), []
    for number, image in enumerate(drawn, 1):
        at = f"{sheet.name}-{number}"
        legend = " legend" * (number > len(sheet.panels))
        parts.append(
            f'<div class="panel{legend}" id="{at}"><a class="zoom" href="#{at}" title="enlarge">{image}</a>'
            f'<a class="close" href="#{sheet.name}">close</a></div>'
        )
    shape = "wide" if len(drawn) > 1 else "half"
    layout = {2: " row", 4: " square"}.get(len(drawn), "")
    return (
        f'<figure class="{shape}" id="{sheet.name}"><div class="panels{layout}">{"".join(parts)}</div>'
        f"<figcaption>{escape(sheet.caption)}</figcaption></figure>"
    )


def figures(parts: Iterable[str]) -> str:
    """Set figures beside each other."""
    return f'<div class="figures">{"".join(parts)}</div>'


def code(text: str) -> str:
    """Show a text as it is."""
    return f"<pre>{escape(text.strip())}</pre>"


def columns(*parts: str) -> str:
    """Set parts beside each other."""
    return f'<div class="columns">{"".join(f"<div>{part}</div>" for part in parts)}</div>'
