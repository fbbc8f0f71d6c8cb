"""Outside of reports a pseudonym stands for a reporter, and nothing that could be logged by chance names one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from faust.types import TP

from streams.chunks import Chunk
from streams.publisher import Outgoing
from streams.reporterhash import pseudonym, pseudonym_key
from streams.settings import Privacy, Settings, SettingsError

KEY = b"0123456789abcdef"
CANARY = b"Canary.Jane.Doe@example.org"


def with_key(path: Path) -> Settings:
    return Settings(privacy=Privacy(reporter_key_file=str(path)))


def test_a_pseudonym_is_16_digits_that_depend_on_reporter_and_key() -> None:
    name = pseudonym(CANARY, KEY)
    assert len(bytes.fromhex(name)) == 8
    assert pseudonym(CANARY, KEY) == name
    assert len({name, pseudonym(b"c0ffee", KEY), pseudonym(CANARY, KEY + b"x"), pseudonym(b"", KEY)}) == 4


@pytest.mark.parametrize("length", [16, 64, 65, 4096])
def test_a_key_may_be_as_long_as_one_likes(length: int) -> None:
    assert pseudonym(CANARY, bytes(length)) != pseudonym(CANARY, bytes(length) + b"\1")


def test_the_key_is_that_of_the_file_without_the_newline_behind_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY + b"\n")
    assert pseudonym_key(with_key(tmp_path / "key")) == KEY


def test_without_a_file_every_process_has_a_key_of_its_own() -> None:
    assert pseudonym_key(Settings()) != pseudonym_key(Settings())


def test_a_file_that_holds_no_secret_is_named(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"secret\n")
    with pytest.raises(SettingsError, match=r"^privacy\.reporter_key_file: .*short holds 6 bytes, a secret has"):
        pseudonym_key(with_key(short))
    with pytest.raises(SettingsError, match=r"^privacy\.reporter_key_file: .*missing: No such file"):
        pseudonym_key(with_key(tmp_path / "missing"))


def test_counting_and_detection_do_not_depend_on_the_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY)
    keyed = with_key(tmp_path / "key")
    assert (keyed.counting, keyed.detecting) == (Settings().counting, Settings().detecting)


def test_chunks_and_records_do_not_show_what_is_in_them() -> None:
    chunk = Chunk(
        tp=TP("tocsin.reports", 0),
        assignment=1,
        start=0,
        end=1,
        offsets=np.array([0]),
        timestamps_ms=np.array([0]),
        keys=[CANARY],
        values=[CANARY],
        headers={0: [("user", CANARY)]},
    )
    letter = Outgoing("tocsin.reports.dlq", 0, b"tocsin.reports/0/0", CANARY, [("tocsin.original.key", CANARY)])
    assert "Canary" not in repr(chunk) + str(chunk) + repr(letter)
    assert "tocsin.reports/0/0" in repr(letter)
