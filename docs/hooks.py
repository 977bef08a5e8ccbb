"""What MkDocs does to a page beyond its plugins."""

import doctest
import json
import re
from pathlib import Path

from mkdocs.structure.files import File


def on_files(files, config, **kwargs):
    """Add the tutorial as a notebook beside the page."""
    page = files.get_file_from_path("tutorial.md")
    files.append(File.generated(config, "tutorial.ipynb", content=notebook(page.content_string)))
    return files


def notebook(markdown: str) -> str:
    """The cells of a page: its text without links to other pages, and its examples, cut where they have an output."""
    cells = [("markdown", "To run the cells: `pip install fastmlp`. Each one needs those above it.")]
    for number, part in enumerate(re.split(r"^```python\n(.*?)^```\n", markdown, flags=re.DOTALL | re.MULTILINE)):
        if number % 2 == 0:
            cells.append(("markdown", re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", part).strip()))
            continue
        code = ""
        for example in doctest.DocTestParser().get_examples(part):
            code += example.source
            if example.want:
                cells.append(("code", code.strip()))
                code = ""
        cells.append(("code", code.strip()))
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            "cells": [
                {"id": f"cell-{number}", "cell_type": kind, "metadata": {}, "source": source}
                | ({"execution_count": None, "outputs": []} if kind == "code" else {})
                for number, (kind, source) in enumerate(cells)
                if source
            ],
        },
        ensure_ascii=False,
        indent=1,
    )


def on_page_markdown(markdown: str, page, **kwargs) -> str:
    """Mark Python with prompts as such, so that prompts and outputs are not copied; rank how-to pages first in search;
    put the README's table on the home page."""
    boosts = {"how-to/": 4, "reference/training": 1, "coming": 1, "what": 1}
    boost = next((boosts[begin] for begin in boosts if page.file.src_uri.startswith(begin)), 0.2)
    page.meta.setdefault("search", {"boost": boost})
    if page.is_homepage:
        readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
        table = re.search(r"^<!-- bench -->\n\n(.*\n\n(\|.*\n)+)", readme, re.MULTILINE)
        markdown = markdown.replace("<!-- table of the README -->", table[1])
    return re.sub(r"^```python$(?=\n>>> )", "```pycon", markdown, flags=re.MULTILINE)


def on_page_content(html: str, **kwargs) -> str:
    """Mark each line of an example that has no prompt as output, all of an error's message among them."""

    def marked(block: re.Match[str]) -> str:
        lines = block[1].split("\n")
        if '<span class="gp">' not in lines[0]:
            return block[0]
        code = [
            line if '<span class="gp">' in line or not line else f'<span class="go">{line}</span>' for line in lines
        ]
        return "<code>" + "\n".join(code) + "</code>"

    return re.sub(r"<code>(.*?)</code>", marked, html, flags=re.DOTALL)
