"""Self-contained HTML pages: one file, no script, no link to anything outside."""

import base64
from collections.abc import Iterable, Mapping
from html import escape

CSS = """
:root { --ink: #1f2933; --pale: #5f6b76; --line: #dfe3e8; --accent: #0072B2; --ground: #f6f7f9;
        --sheet: #fff; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --pale: #9ba7b3; --line: #343c45; --accent: #56B4E9; --ground: #14181c;
          --sheet: #1d2329; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
       font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
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
.figures { display: flex; flex-wrap: wrap; gap: 16px; }
figure { margin: 0; background: var(--sheet); border: 1px solid var(--line); border-radius: 8px;
         padding: 14px; flex: 1 1 420px; }
figure.wide { flex-basis: 100%; overflow-x: auto; }
figure.wide img { min-width: 640px; }
figure img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { color: var(--pale); font-size: 13.5px; margin-top: 8px; }
.scroll { overflow-x: auto; background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 12px; text-align: right; border-bottom: 1px solid var(--line);
         vertical-align: top; white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
th { color: var(--pale); font-weight: 600; }
th:first-child, td:first-child, .words { text-align: left; }
td small { color: var(--pale); }
td.words small { white-space: normal; }
pre { background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; padding: 14px;
      overflow-x: auto; font: 13px/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
.columns { display: grid; gap: 0 24px;
           grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
.columns > div { min-width: 0; }
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


def figure(name: str, content: bytes, caption: str, wide: bool = False) -> str:
    """Show a PNG, which becomes part of the page."""
    data = base64.b64encode(content).decode()
    shape = ' class="wide"' if wide else ""
    return (
        f'<figure{shape}><img alt="{escape(name)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
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
