"""The account id and canaries come from arguments, files or standard input."""

import io
from pathlib import Path

import pytest

from pipelines.cli.account import read_account
from resources.errors import InputError


@pytest.mark.parametrize("ending", ["\n", "\r\n", "", "\n\n"])
def test_the_first_line_of_a_file_is_the_id(tmp_path: Path, ending: str) -> None:
    account, texts = tmp_path / "account.txt", tmp_path / "canaries.txt"
    account.write_bytes(f"café 1{ending}".encode())
    texts.write_bytes(f"one{ending}\ntwo, “quoted”{ending}".encode())
    assert read_account(None, account, ["zero"], texts) == ("café 1", ["zero", "one", "two, “quoted”"])


def test_standard_input_gives_the_id_the_canaries_or_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stdin, file = Path("-"), tmp_path / "a.txt"
    file.write_text("of a file\n")

    def read(*arguments: object) -> tuple[str, list[str]]:
        monkeypatch.setattr("sys.stdin", io.StringIO("first\nsecond\n\nthird\n"))
        return read_account(*arguments)  # type: ignore[arg-type]

    assert read(None, stdin) == ("first", [])
    assert read("a", None, None, stdin) == ("a", ["first", "second", "third"])
    assert read(None, stdin, ["zero"], stdin) == ("first", ["zero", "second", "third"])
    assert read(None, stdin, None, file) == ("first", ["of a file"])
    assert read(None, file, None, stdin) == ("of a file", ["first", "second", "third"])


@pytest.mark.parametrize("body", ["", "\n", " \n"])
def test_an_empty_file_is_refused(tmp_path: Path, body: str) -> None:
    (tmp_path / "a").write_text(body)
    with pytest.raises(InputError, match=r"^The account id is empty; give an id of the source\.$"):
        read_account(None, tmp_path / "a")
