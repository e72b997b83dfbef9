"""Cut long texts into chunks that fit an embedding model."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from unicodedata import ucd_3_2_0

# BERT's WordPiece makes a longer word one [UNK], so a word never has more tokens than this. A chunk has room for two
# such words, so it need not end inside a word.
LONGEST_WORD_TOKENS = 100
DEFAULT_MAX_CHUNKS = 8
CHUNKING = "chunks-1"
"""Part of the corpus' recipe. Change it to have every text cut again."""

_SENTENCE_ENDS = frozenset(".!?…。！？।؟")
_CLOSERS = frozenset("\"'”’»)]）」』")
_ZERO_WIDTH_JOINER = "\u200d"
_SKIN_TONE = re.compile("[\U0001f3fb-\U0001f3ff]")
# The ranges that BERT's tokenizer puts spaces around.
_IDEOGRAPH = re.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f]"
)


@dataclass(frozen=True)
class Chunk:
    """The source's characters [start, end), without whitespace at either end, and their number of tokens.

    Special tokens are not counted.
    """

    chunk_no: int
    start: int
    end: int
    text: str
    tokens: int


@dataclass(frozen=True)
class ChunkedText:
    """The chunks of a text in order, and the number of its tokens beyond the last chunk."""

    chunks: tuple[Chunk, ...]
    dropped_tokens: int


class _Boundary(IntEnum):
    """How good it is to cut between two tokens; higher is better."""

    NONE = 0  # inside one character or grapheme
    INSIDE = 1  # perhaps inside a word
    WORD = 2  # beside punctuation or an ideograph
    SPACE = 3
    SENTENCE = 4


def chunk_text(
    text: str, offsets: Sequence[tuple[int, int]], max_tokens: int, max_chunks: int = DEFAULT_MAX_CHUNKS
) -> ChunkedText:
    """Cut a text into chunks of at most ``max_tokens`` tokens, special tokens not counted.

    ``offsets`` are the (start, end) character offsets of the tokens of the whole text. Cuts fall at the end of a
    sentence, else of a word, and make chunks of similar length. The end of a line is whitespace like any other.
    Tokenized alone, each chunk has at most ``max_tokens`` tokens. Only whitespace is lost between chunks. Tokens after
    ``max_chunks`` chunks are dropped and counted. A text of whitespace has no chunk. Raise ValueError if max_tokens is
    below 200.
    """
    if max_tokens < 2 * LONGEST_WORD_TOKENS:
        raise ValueError(f"max_tokens is {max_tokens}; it must be at least {2 * LONGEST_WORD_TOKENS}.")
    if not text.strip():
        return ChunkedText((), dropped_tokens=0)
    starts = [0]
    if len(offsets) > max_tokens:
        boundaries = [_boundary(text, left[1], right[0]) for left, right in pairwise(offsets)]
        starts = _chunk_starts([_Boundary.SENTENCE, *boundaries], max_tokens, max_chunks)
    ends = starts[1:] if len(starts) > max_chunks else [*starts[1:], len(offsets)]
    cuts = [0, *(_cut_position(text, offsets, token) for token in ends)]
    chunks: list[Chunk] = []
    for (start, end), (first, last) in zip(pairwise(cuts), pairwise([0, *ends]), strict=True):
        piece = text[start:end].strip()
        at = text.index(piece, start)
        chunks.append(Chunk(len(chunks), at, at + len(piece), piece, last - first))
    return ChunkedText(tuple(chunks), dropped_tokens=len(offsets) - ends[-1])


def _chunk_starts(boundaries: Sequence[_Boundary], max_tokens: int, max_chunks: int) -> list[int]:
    """Return the first token of each chunk, and of the rest if the text goes on after ``max_chunks``."""
    starts, start = [0], 0
    while len(starts) <= max_chunks:
        # Tokenized alone, the rest of a word that was cut through may have up to LONGEST_WORD_TOKENS tokens.
        whole_word = boundaries[start] >= _Boundary.WORD
        room = max_tokens if whole_word else max_tokens - LONGEST_WORD_TOKENS
        if len(boundaries) - start <= room:
            break
        start = _best_cut(boundaries, start, room)
        starts.append(start)
    return starts


def _best_cut(boundaries: Sequence[_Boundary], start: int, room: int) -> int:
    """Return the first token of the next chunk: at most ``room`` after ``start``, at best at an even share."""
    remaining = len(boundaries) - start
    share = remaining / -(-remaining // room)
    near_share = range(start + max(1, int(share * 2 / 3)), start + room + 1)
    best = max(near_share, key=lambda token: (boundaries[token], -abs(token - start - share)))
    if boundaries[best] >= _Boundary.WORD:
        return best
    # One long word is there: cut at the latest boundary between words before it, else at the latest of all.
    anywhere = range(start + 1, start + room + 1)
    return max(anywhere, key=lambda token: (boundaries[token], token))


def _boundary(text: str, end: int, start: int) -> _Boundary:
    """Return the boundary between a token that ends at ``end`` and the next, which begins at ``start``.

    At WORD and above BERT's tokenizer separates the two sides as well, so their tokens are the same if they are cut.
    """
    if start < end:
        return _Boundary.NONE  # one character gave several tokens
    if any(is_space(character) for character in text[end:start]):
        before = text[max(0, end - 2) : end]
        ends_sentence = before[-1:] in _SENTENCE_ENDS or (before[-1:] in _CLOSERS and before[:1] in _SENTENCE_ENDS)
        return _Boundary.SENTENCE if ends_sentence else _Boundary.SPACE
    if _joins_previous(text[start]) or text[start - 1] == _ZERO_WIDTH_JOINER:
        return _Boundary.NONE
    if text[end - 1] in "。！？":
        return _Boundary.SENTENCE
    return _Boundary.WORD if stands_alone(text[end - 1]) or stands_alone(text[start]) else _Boundary.INSIDE


def _cut_position(text: str, offsets: Sequence[tuple[int, int]], token: int) -> int:
    """Return where to cut before ``token``: at the first whitespace, so marks stay with the character before them."""
    if token == len(offsets):
        return len(text)
    end, start = offsets[token - 1][1], offsets[token][0]
    return next((position for position in range(end, start) if is_space(text[position])), start)


def stands_alone(character: str) -> bool:
    """Return whether BERT's tokenizer makes the character a word of its own: punctuation and ideographs.

    True only if it is certain: punctuation in Unicode 3.2 and today, because the tokenizer's tables are older than
    Python's.
    """
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    is_punctuation = all(table.category(character).startswith("P") for table in (ucd_3_2_0, unicodedata))
    return is_punctuation or bool(_IDEOGRAPH.match(character))


def is_space(character: str) -> bool:
    """Return whether BERT's tokenizer takes the character for a space between words."""
    # Not str.isspace: the tokenizer removes U+001C to U+001F and U+0085, and so joins the words on either side.
    return character in "\t\n\r" or unicodedata.category(character) in ("Zs", "Zl", "Zp")


def _joins_previous(character: str) -> bool:
    is_mark = unicodedata.category(character).startswith("M")
    return is_mark or character == _ZERO_WIDTH_JOINER or bool(_SKIN_TONE.match(character))
