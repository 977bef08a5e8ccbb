"""The Python of the README and of docs/ runs and says what it says; the site builds, and its links lead somewhere."""

from __future__ import annotations

import ast
import doctest
import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stdout
from html import unescape
from html.parser import HTMLParser
from inspect import signature
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import fastmlp

ROOT = Path(__file__).parent.parent
PAGES = [path for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))] if "```python" in path.read_text()]
SEARCHED = [
    *("train_many", "csv", "early stopping", "learning rate", "keras", "gpu", "save", "predict", "dropout", "install"),
    *("pandas", "batch size", "onnx", "microcontroller", "cross-validation", "missing values"),
]
IN_HEADINGS = [
    *("csv", "dropout", "gpu", "nan", "early stopping", "missing values", "learning rate", "batch size", "callbacks"),
    *("cross-validation", "checkpoints", "keras", "onnx", "quantile", "train_many", "class weights", "residual"),
]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_examples(page, tmp_path, monkeypatch):
    """A page's blocks share their names, those of the README stand each alone. Those with prompts are doctests; the
    others run, and each ``print(…)`` of theirs prints what the comment behind it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict = {"__name__": "__main__"}
    text = page.read_text()
    for block in BLOCK.finditer(text):
        if page.name == "README.md":
            names = {"__name__": "__main__"}
        line = text.count("\n", 0, block.start(1))
        if ">>>" not in block[1]:
            with redirect_stdout(io.StringIO()) as printed:
                exec(compile("\n" * line + block[1], page, "exec"), names)
            said = "".join(f"{comment}\n" for comment in re.findall(r"^print\(.*\)  # (.*)$", block[1], re.MULTILINE))
            assert doctest.OutputChecker().check_output(said, printed.getvalue(), doctest.ELLIPSIS), printed.getvalue()
            continue
        test = doctest.DocTestParser().get_doctest(block[1], names, page.name, str(page), line)
        complaints: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=complaints.append, clear_globs=False)
        assert not complaints, "".join(complaints)
        names.update(test.globs)


def test_the_code_of_the_readme_needs_the_core_alone(tmp_path):
    """It runs where of all libraries only NumPy and Numba can be imported."""
    missing = ("matplotlib", "onnx", "pandas", "pyarrow", "rich", "safetensors", "scipy", "sklearn", "torch", "typer")
    code = f"import sys\nsys.modules.update(dict.fromkeys({missing}))\n"
    for block in BLOCK.finditer((ROOT / "README.md").read_text()):
        code += doctest.script_from_examples(block[1]) if ">>>" in block[1] else block[1]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_every_option_of_train_has_an_example():
    code = "".join(block[1] for page in PAGES for block in BLOCK.finditer(page.read_text()))
    options = [name for name, given in signature(fastmlp.train).parameters.items() if given.kind is given.KEYWORD_ONLY]
    assert len(options) > 20
    assert [name for name in options if not re.search(rf"\b{name}=", code)] == []


class Page(HTMLParser):
    """What a built page points to, what it loads, and what can be pointed to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        given = {name: value for name, value in attrs if value is not None}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if "href" in given:
            (self.links if tag == "a" else self.loads).add(given["href"])
        if "src" in given:
            self.loads.add(given["src"])


def test_links(site):
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert {path.relative_to(ROOT / "docs").with_suffix(".html") for path in ROOT.glob("docs/**/*.md")} == {
        path.relative_to(site) for path in pages
    }
    for path, page in pages.items():
        for link in page.links | page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert link in page.links, f"{path.name} loads {link}"  # a reader may go elsewhere, the page may not
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path.name}: nothing at {link}"
            if target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, f"{path.name}: no anchor at {link}"


def test_copied_examples_have_neither_prompts_nor_outputs(site):
    """The style sheet hides prompts and outputs from the copy button by class; what is left of an example is Python."""
    examples = 0
    for path in site.rglob("*.html"):
        for code in re.findall(r"<code>(.*?)</code>", path.read_text(encoding="utf-8"), re.DOTALL):
            if "&gt;&gt;&gt;" in code:
                kept = re.sub(r'^<span class="go">.*</span>$|<span class="gp">.*?</span>', "", code, flags=re.MULTILINE)
                ast.parse(unescape(re.sub(r"<[^>]*>", "", kept)))
                examples += 1
    assert examples > 150


def test_search_works_in_a_folder_and_finds_what_people_type(site):
    """A page that is opened as a file gets the index as a script, and its worker in a frame."""
    assert (site / "search/search_index.js").is_file()
    assert "iframe-worker.js" in (site / "index.html").read_text()
    sections = json.loads((site / "search/search_index.json").read_text())["docs"]
    for words in SEARCHED:
        parts = words.split()
        assert any(all(part in f"{at['title']} {at['text']}".lower() for part in parts) for at in sections), words
    for words in IN_HEADINGS:  # which rank before text
        assert any(words in at["title"].lower() for at in sections), words


def test_the_tutorials_notebook_runs(site):
    cells = json.loads((site / "tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 10
    names: dict = {"__name__": "__main__"}
    with redirect_stdout(io.StringIO()) as printed:
        for source in code:
            exec(source, names)
    assert printed.getvalue().count("iter:") == 3
    assert names["model"].evaluate(names["test_images"], names["test_digits"])["accuracy"] > 0.93


FORBIDDEN = ("fastest", "none has", "no other library can", "the first to")


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))], ids=lambda page: page.name)
def test_pages_claim_nothing_that_cannot_be_shown(page):
    text = " ".join(page.read_text(encoding="utf-8").lower().split())
    assert [words for words in FORBIDDEN if words in text] == []


def test_what_examples_use_is_in_the_reference(site):
    code = "".join(block[1] for page in PAGES for block in BLOCK.finditer(page.read_text()))
    used = {*re.findall(r"\bfastmlp\.([A-Za-z]\w*)", code), *fastmlp.__all__}
    for names in re.findall(r"from fastmlp import (.+)", code):
        used.update(name.split()[0] for name in names.split(","))
    anchors = set().union(*(Page(path).anchors for path in site.glob("reference/*.html")))
    used -= {"ACTIVATIONS", "LOSSES", *fastmlp.ACTIVATIONS}
    assert sorted(name for name in used if f"fastmlp.{name}" not in anchors) == []


def test_links_of_the_readme():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert links
    for link in links:
        assert (ROOT / link).is_file(), f"README.md: nothing at {link}"
