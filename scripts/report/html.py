"""All pages as one HTML page that needs nothing else: pictures inside, no address outside."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from markdown_it import MarkdownIt

from scripts.report.claims import VERDICTS
from scripts.report.pages import TEMPLATES


def html(pages: dict[str, str], folder: Path) -> str:
    """One page; pictures are read from `folder`.

    Args:
        pages: name -> Markdown, each with a heading of the first level.
    """
    headings = {name: re.search(r"^# (.*)$", text, re.M)[1] for name, text in pages.items()}
    bodies = {name: body(text, pages, folder) for name, text in pages.items()}
    short = {name: heading.split(":")[0] for name, heading in headings.items()}
    template = TEMPLATES.get_template("page.html.j2")
    return template.render(title=next(iter(headings.values())), headings=short, bodies=bodies)


def body(markdown: str, pages: dict[str, str], folder: Path) -> str:
    text = MarkdownIt("commonmark").enable("table").render(markdown)
    text = re.sub(r'src="([^"]+)"', lambda match: f'src="{embedded(folder / match[1])}"', text)
    text = with_anchors(text)
    for name in pages:
        text = text.replace(f'href="{name}.md"', f'href="#{name}"')
    text = re.sub(r'<a href="(?!#)[^"]*">(.*?)</a>', r"\1", text)
    text = text.replace("<table>", '<div class="wide"><table>')
    return coloured(text.replace("</table>", "</table></div>"))


def with_anchors(text: str) -> str:
    """Give the headings that a page itself links to the anchors that GitHub gives them."""

    def heading(match: re.Match[str]) -> str:
        anchor = re.sub(r"[^\w -]", "", match[1]).lower().replace(" ", "-")
        linked = f'href="#{anchor}"' in text
        return f'<h2 id="{anchor}">{match[1]}</h2>' if linked else match[0]

    return re.sub(r"<h2>(.*?)</h2>", heading, text)


def embedded(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def coloured(text: str) -> str:
    """Give cells that hold nothing but a verdict its class."""
    for verdict in VERDICTS:
        cell = f'<td class="{verdict.replace(" ", "-")}">{verdict}</td>'
        text = text.replace(f"<td>{verdict}</td>", cell)
        text = text.replace(f"<td><strong>{verdict}</strong></td>", cell)
    return text
