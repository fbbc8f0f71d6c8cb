"""The Markdown files of the repository: their headings, links, code blocks and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[\w-]*)[^\n`]*\n(?P<text>.*?)^ *(?P=fence) *$", re.M | re.S
)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(
    r"\[[^\]]*\]\(<?(?P<target>[^)\s>]+)>?(?: \"[^\"]*\")?\)"  # [text](target "title")
    r"|<(?:img|source)[^>]*\b(?:src|srcset)=\"(?P<source>[^\"]+)\""
)
_HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *#*$", re.M)
#: Languages of blocks that are typed into a shell; a block without a language may be one.
_SHELL = {"console", "sh", "bash", ""}


@dataclass(frozen=True)
class Block:
    """A fenced block of code; `line` is that of its fence."""

    document: Document
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Document:
    """A Markdown file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """All of it but blocks of code."""
        return _FENCE.sub("", self.text)

    @property
    def blocks(self) -> Iterator[Block]:
        """Its blocks of code."""
        for match in _FENCE.finditer(self.text):
            line = self.text.count("\n", 0, match.start()) + 1
            yield Block(self, line, match["language"], re.sub(f"^{match['indent']}", "", match["text"], flags=re.M))

    @property
    def spans(self) -> list[str]:
        """What stands between backquotes in a line of prose, each on one line."""
        return [" ".join(span.split()) for span in _SPAN.findall(self.prose)]

    @property
    def links(self) -> list[str]:
        """The targets of links and pictures."""
        return [match["target"] or match["source"] for match in _LINK.finditer(_SPAN.sub("``", self.prose))]

    @cached_property
    def anchors(self) -> set[str]:
        """What a link to a place in it may name, as GitHub makes it of the headings."""
        seen: Counter[str] = Counter()
        anchors = set()
        for match in _HEADING.finditer(self.prose):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match["text"])
            anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1
        return anchors


def documents() -> list[Document]:
    """Return every Markdown file of the repository."""
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return [Document(ROOT / path) for path in sorted(paths) if not any(part.startswith(".") for part in path.parts)]


def typed(block: Block) -> list[str]:
    """Return the lines that a block has people type, continued lines as one; none if it is for no shell."""
    if block.language not in _SHELL:
        return []
    lines = re.sub(r" *\\\n *", " ", block.text).splitlines()
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return prompted if prompted or block.language == "console" else lines


def tocsin_arguments(line: str) -> Iterator[list[str]]:
    """Yield the arguments of every `tocsin` that a line for the shell calls, itself or in a container."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#" if " #" in line or line.startswith("#") else ""
    try:
        words = list(lexer)
    except ValueError:
        return  # a piece of a longer text: no command of its own
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("();<>|&"):
            yield from _own_arguments(command)
            command = []
        else:
            command.append(word)


def _own_arguments(command: list[str]) -> Iterator[list[str]]:
    while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
        command = command[1:]
    for at, word in enumerate(command):
        called = at == 0 or command[at - 1] == "--" or command[0] in ("sudo", "time", "nice")
        inside = command[:2] == ["docker", "compose"] and ({"exec", "run"} & set(command[:at]))
        if (called or inside) and (word == "tocsin" or word.endswith("/bin/tocsin")):
            yield command[at + 1 :]
            return
