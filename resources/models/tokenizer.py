"""The encoders' tokenizers, and batches of texts of similar length."""

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

SPECIAL_TOKENS = 2  # one before every text and one behind it
TEXTS_PER_CALL = 2_048  # the tokenizer's own records take about 1 kB a token: keep few of them


@dataclass(frozen=True)
class Tokens:
    """The tokens of a text: their ids, and their (start, end) character offsets if they were asked for."""

    ids: Sequence[int]
    offsets: list[tuple[int, int]]


class TextTokenizer(ABC):
    """The tokenizer of a model. Safe to use from several threads."""

    name: str
    max_tokens: int
    """The most tokens of a text, special tokens counted."""
    opening: int
    """The special token before every text."""
    closing: int
    unknown: int

    @property
    def chunk_tokens(self) -> int:
        """The most tokens of a chunk of a text, without special tokens."""
        return self.max_tokens - SPECIAL_TOKENS

    @abstractmethod
    def _tokens(self, texts: list[str], with_offsets: bool) -> Iterator[Tokens]:
        """Yield the tokens of each whole text, without special tokens."""

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each whole text, without special tokens."""
        return [len(tokens.ids) for part in _slices(texts) for tokens in self._tokens(part, with_offsets=False)]

    def token_offsets(self, texts: Sequence[str]) -> Iterator[list[tuple[int, int]]]:
        """Yield the (start, end) character offsets of each whole text's tokens, without special tokens.

        Tokenizes a few texts at a time, because offsets take about 100 bytes a token.
        """
        for part in _slices(texts):
            for tokens in self._tokens(part, with_offsets=True):
                yield tokens.offsets

    def known_shares(self, texts: Sequence[str]) -> list[float]:
        """Return the share of each text's letters and digits that are in known tokens; 0 without any."""
        shares = []
        for part in _slices(texts):
            for text, tokens in zip(part, self._tokens(part, with_offsets=True), strict=True):
                spans = zip(tokens.ids, tokens.offsets, strict=True)
                unknown = sum(_letters(text[start:end]) for id_, (start, end) in spans if id_ == self.unknown)
                shares.append(1 - unknown / total if (total := _letters(text)) else 0.0)
        return shares

    def token_ids(self, texts: Sequence[str], before: Sequence[int] = ()) -> list[NDArray[np.int32]]:
        """Return the ids of each text's tokens behind ``before``, with special tokens, cut off at ``max_tokens``."""
        room = self.max_tokens - SPECIAL_TOKENS - len(before)
        return [
            np.array([self.opening, *before, *tokens.ids[:room], self.closing], dtype=np.int32)
            for part in _slices(texts)
            for tokens in self._tokens(part, with_offsets=False)
        ]


class WordPieceTokenizer(TextTokenizer):
    """The tokenizer of all-MiniLM-L6-v2: BERT's for uncased English."""

    name: str = "bert-uncased@be50c362"

    def __init__(self, path: Path, max_tokens: int) -> None:
        """Open the published file."""
        self.max_tokens = max_tokens
        self._whole = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        self._whole.no_padding()
        self._whole.no_truncation()
        numbers = self._whole.get_vocab()
        self.opening, self.closing, self.unknown = (numbers[special] for special in ("[CLS]", "[SEP]", "[UNK]"))
        self._spaces = _Spaces(self._whole)

    def _tokens(self, texts: list[str], with_offsets: bool) -> Iterator[Tokens]:
        encode = self._whole.encode_batch if with_offsets else self._whole.encode_batch_fast
        for encoding in encode(texts, add_special_tokens=False):
            yield Tokens(encoding.ids, encoding.offsets if with_offsets else [])

    def without_unknown_symbols(self, texts: Sequence[str]) -> list[str]:
        """Return texts of the same length with spaces for symbols, such as emoji, that are no tokens.

        The tokenizer does not part a symbol from a word: with one that is no token, the word is unknown too.
        """
        return [text if text.isascii() else text.translate(self._spaces) for text in texts]


class _Spaces(dict[int, int]):
    """Code point → a space for a symbol that the tokenizer does not know, else the code point; filled as needed."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def __missing__(self, code: int) -> int:
        character = chr(code)
        # Cn is a symbol of a later Unicode than Python's; Me is the box around a digit.
        is_symbol = not character.isascii() and unicodedata.category(character) in ("So", "Sm", "Sc", "Sk", "Me", "Cn")
        is_known = all(self._tokenizer.token_to_id(token) is not None for token in (character, f"##{character}"))
        self[code] = ord(" ") if is_symbol and not is_known else code
        return self[code]


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def length_batches(lengths: NDArray[np.int32], batch_tokens: int, max_texts: int | None = None) -> Iterator[list[int]]:
    """Yield indices in batches of similar length, longest first, each of at most ``batch_tokens`` padded tokens.

    A longer text is a batch of its own. Texts of equal length keep their order.
    """
    order: list[int] = np.argsort(-lengths, kind="stable").tolist()
    first = 0
    while first < len(order):
        size = max(1, batch_tokens // max(1, int(lengths[order[first]])))
        size = size if max_texts is None else min(size, max_texts)
        yield order[first : first + size]
        first += size


def _slices(texts: Sequence[str]) -> Iterator[list[str]]:
    return (list(texts[first : first + TEXTS_PER_CALL]) for first in range(0, len(texts), TEXTS_PER_CALL))
