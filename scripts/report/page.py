"""Markdown to one HTML page that needs nothing else: pictures inside, no address outside."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

from markdown_it import MarkdownIt

from scripts.report.claims import VERDICTS

STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --good: #007a55; --bad: #c03a00; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.3rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin-top: 2rem; }
img { max-width: 100%; height: auto; background: white; border-radius: 4px; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { border: 1px solid var(--line); padding: .3rem .5rem; text-align: left;
  vertical-align: top; }
th { background: var(--soft); }
td:first-child { min-width: 6rem; }
code { font-size: .85em; background: var(--soft); padding: .1em .25em; border-radius: 3px; }
nav { font-size: .9rem; background: var(--soft); padding: .5rem 1rem; border-radius: 4px; }
nav a { display: inline-block; margin: .2rem .8rem .2rem 0; }
.reproduced, .supported { color: var(--good); font-weight: 600; }
.contradicted { color: var(--bad); font-weight: 600; }
.not-run { opacity: .6; }
"""


def page(markdown: str, folder: Path) -> str:
    """The whole page; pictures are looked up from `folder`."""
    title = re.search(r"^# (.*)$", markdown, re.M)[1]
    body = MarkdownIt("commonmark").enable("table").render(markdown)
    body, sections = anchors(body)
    body = re.sub(r'src="([^"]+)"', lambda m: f'src="{embedded(folder / m[1])}"', body)
    body = re.sub(r'<a href="(?!#)[^"]*">(.*?)</a>', r"\1", body)  # the page stands alone
    body = body.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )
    body = coloured(body)
    links = "".join(f'<a href="#{anchor}">{text}</a>' for anchor, text in sections)
    body = body.replace("</h1>", f"</h1>\n<nav>{links}</nav>", 1)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def anchors(body: str) -> tuple[str, list[tuple[str, str]]]:
    """An id for every second-level heading, and what leads there."""
    found: list[tuple[str, str]] = []

    def mark(match: re.Match) -> str:
        text = match[1]
        anchor = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        found.append((anchor, text.split(":")[0].split(",")[0]))
        return f'<h2 id="{anchor}">{text}</h2>'

    return re.sub(r"<h2>(.*?)</h2>", mark, body), found


def embedded(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def coloured(body: str) -> str:
    """Verdicts in cells of their own get a colour."""
    for verdict in VERDICTS:
        name = verdict.replace(" ", "-")
        mark = f'<td class="{name}">'
        body = body.replace(f"<td>{verdict}</td>", f"{mark}{verdict}</td>")
        body = body.replace(f"<td><strong>{verdict}</strong></td>", f"{mark}{verdict}</td>")
    return body
