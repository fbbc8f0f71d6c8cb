"""Commands, settings and data in the documentation are such that they work."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from docs.pages.settings import every_key
from streams.cli import app
from streams.importers.mapping import mapping
from streams.settings import load
from tests.support.documents import Block, Document, documents, tocsin_arguments, typed

DOCUMENTS = documents()
BLOCKS = [block for document in DOCUMENTS for block in document.blocks]
KEYS = {key.path: key for key in every_key()}
COMMAND = typer.main.get_command(app)
#: The class of all errors of usage; typer exports only some of those below it.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]

#: An argument that stands for another one.
PLACEHOLDER = r"[A-Z][A-Z_]*|\.\.\.|<[a-z-]+>"


def fault(arguments: list[str]) -> str | None:
    """Return what is wrong with the arguments of `tocsin`; that a file is not there yet, or a value open, is not."""
    context: typer.Context | None = None
    command: Any = COMMAND  # typer names no public type for a group
    name = "tocsin"
    try:
        while True:
            context = command.make_context(name, list(arguments), parent=context)
            rest = [*context._protected_args, *context.args]
            if not rest:
                return None
            name, command, arguments = command.resolve_command(context, rest)
    except typer.Exit:  # --help, --version
        return None
    except USAGE_ERROR as error:
        message = str(error)
        open_value = re.search(rf"'({PLACEHOLDER})'|'[^']*' does not exist", message)
        return None if open_value and isinstance(error, typer.BadParameter) else message


def alternatives(span: str) -> list[str]:
    """Return the commands that `tocsin dlq list|show` stands for."""
    if choice := re.search(r"(?<= )\w+(\|\w+)+", span):
        return [span.replace(choice[0], each) for each in choice[0].split("|")]
    return [span]


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if any("tocsin" in line for line in typed(block))], ids=str
)
def test_commands_in_blocks_can_be_typed_as_they_are(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [arguments for line in typed(block) for arguments in tocsin_arguments(line)]
    assert [(arguments, message) for arguments in commands if (message := fault(arguments))] == []
    capsys.readouterr()  # what --help and --version print


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_commands_in_the_text_have_these_names_and_options(document: Document) -> None:
    commands = [
        arguments
        for span in document.spans
        if span.startswith("tocsin ")
        for each in alternatives(span)
        for arguments in tocsin_arguments(re.sub(r" (\.\.\.|…)", "", each))
    ]
    faults = [(arguments, message) for arguments in commands if (message := fault(arguments))]
    # a name alone need not have all that the command needs
    assert [each for each in faults if not re.match(r"Missing|Usage|Option '\S+' requires", each[1])] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_keys_and_variables_of_settings_are_called_so(document: Document) -> None:
    tables = {path.partition(".")[0].removesuffix("[]") for path in KEYS if "." in path}
    named = {
        re.sub(r"\[\d*\]", "[]", word)
        for span in document.spans
        for word in re.findall(r"(?<![\w./-])[a-z]+(?:\[\d*\])?(?:\.[A-Za-z0-9_*]+)+(?![\w/-])", span)
        if re.split(r"[.\[]", word)[0] in tables and not re.search(r"\.(py|md|toml|json|ya?ml|count|jsonl)$", word)
    }
    known = {re.sub(r"regions\.\w+", "regions.*", word) for word in named}
    assert {word for word in known if not any(path == word or path.startswith(f"{word}.") for path in KEYS)} == set()
    variables = set(re.findall(r"\bTOCSIN_[A-Z_]+__[A-Z0-9_]+", document.text))
    assert variables - {key.variable.replace("*", "CODE") for key in KEYS.values() if key.variable} == set()


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=str)
def test_toml_is_settings_or_the_mapping_of_an_import(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "file.toml"
    file.write_text(block.text)
    if "columns" in tomllib.loads(block.text):
        mapping(file, {})
    else:
        load(file)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in ("json", "jsonl")], ids=str)
def test_json_is_valid(block: Block) -> None:
    for text in block.text.splitlines() if block.language == "jsonl" else [block.text]:
        json.loads(text)


def test_what_is_wrong_with_a_command_is_found() -> None:
    assert fault(["replay", "x-2025-05-24", "--jason"]) == "No such option: --jason"
    assert fault(["rplay"]) is not None
    assert fault(["worker", "cuont"]) is not None
    assert fault(["worker", "STAGE"]) is None
    assert fault(["produce", "reports.jsonl", "--rate", "10"]) is None
    assert [*tocsin_arguments("A=1 tocsin replay x | head -3 && .venv/bin/tocsin --version # why")] == [
        ["replay", "x"],
        ["--version"],
    ]
