"""Pages of the documentation that errors name, each by its file and a heading in it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CHOOSE_A_LOSS", "DATA", "DESCRIBE", "FRAMES", "TABLES", "TARGETS", "WHERE_TO_START", "Page"]


class Page(NamedTuple):
    """A heading on a page in the folder docs/; as text, the end of an error message."""

    file: str
    heading: str

    def __str__(self) -> str:
        return f"see {self.heading!r} in docs/{self.file}"


CHOOSE_A_LOSS = Page("how-to/networks.md", "Choose a loss")
DATA = Page("how-to/data.md", "Give data as it is")
DESCRIBE = Page("how-to/networks.md", "Describe a network")
FRAMES = Page("how-to/data.md", "Labels and frames")
TABLES = Page("how-to/tables.md", "What becomes of a column")
TARGETS = Page("how-to/networks.md", "What y may be")
WHERE_TO_START = Page("what-to-start-with.md", "What to start with")
