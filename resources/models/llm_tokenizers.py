"""Tokenizers of language models that a package carries as a file: exact token counts without the model."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tiktoken

# The pattern that Llama 3 splits text with before merging bytes, from its published tokenizer.
_LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)


def has_tokenizer(family: str) -> bool:
    """Return whether a package has the tokenizer of a model family, such as ``llama-3.1-8b``."""
    return family.startswith("llama-3") and _llama3_file() is not None and find_spec("tiktoken") is not None


def llm_token_counts(family: str, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens of each text, without special tokens. Call it if ``has_tokenizer``."""
    return [len(tokens) for tokens in _llama3().encode_ordinary_batch(list(texts), num_threads=2)]


@cache
def _llama3() -> "tiktoken.Encoding":
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    return tiktoken.Encoding(
        "llama3", pat_str=_LLAMA3_PATTERN, mergeable_ranks=load_tiktoken_bpe(str(_llama3_file())), special_tokens={}
    )


def _llama3_file() -> Path | None:
    package = find_spec("llama_models")  # not imported: only its file is used
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0]) / "llama3" / "tokenizer.model"
    return path if path.exists() else None
