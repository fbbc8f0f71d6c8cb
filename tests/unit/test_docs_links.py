"""Every link in the documentation leads somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.documents import ROOT, Document, documents

DOCUMENTS = documents()


def dead(document: Document, root: Path = ROOT) -> list[str]:
    """Return the links of a document that lead to no file of the repository, or to no heading of one."""
    found = []
    for link in document.links:
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.path.parent / path).resolve() if path else document.path
        leads = target.is_relative_to(root) and target.exists()
        if leads and anchor:
            leads = target.suffix == ".md" and anchor in Document(target).anchors
        if not leads:
            found.append(link)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_relative_links_and_anchors_lead_somewhere(document: Document) -> None:
    assert dead(document) == []


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if each.path.is_relative_to(ROOT / "docs")], ids=str)
def test_a_page_of_the_documentation_is_linked_from_another(document: Document) -> None:
    linked = {
        (other.path.parent / link.partition("#")[0]).resolve()
        for other in DOCUMENTS
        if other.path != document.path
        for link in other.links
    }
    assert document.path in linked


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("# One `two`\n\n[good](#one-two), [bad](#one-too), [none](none.md), `[code](code.md)`\n")
    assert dead(Document(file), tmp_path) == ["#one-too", "none.md"]
