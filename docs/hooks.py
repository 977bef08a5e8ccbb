"""What MkDocs does to a page beyond its plugins."""

import re


def on_page_markdown(markdown: str, page, **kwargs) -> str:
    """Mark Python with prompts as such, so that prompts and outputs are not copied. Search finds how-to pages first."""
    if not page.file.src_uri.startswith("how-to/"):
        page.meta.setdefault("search", {"boost": 0.4})
    return re.sub(r"^```python$(?=\n>>> )", "```pycon", markdown, flags=re.MULTILINE)


def on_page_content(html: str, **kwargs) -> str:
    """Join the two parts of an error's line in examples: the second one is output, too."""
    return re.sub(r'(<span class="gr">\w+)</span>: <span class="n">(.*?</span>)', r"\1: \2", html)
