"""Long texts cut into pieces that an embedding model takes whole."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from unicodedata import ucd_3_2_0

# A word of more characters is one [UNK] to BERT's WordPiece, so a word never has more tokens than this. Pieces are
# therefore never forced to end inside a word while a piece may be longer than a word.
LONGEST_WORD_TOKENS = 100
DEFAULT_MAX_CHUNKS = 8
CHUNKING = "chunks-1"
"""Goes into the corpus' recipe: another value means that every text is cut anew."""

_SENTENCE_ENDS = frozenset(".!?…。！？।؟")
_CLOSERS = frozenset("\"'”’»)]）」』")
_ZERO_WIDTH_JOINER, _SKIN_TONES = "\u200d", ("\U0001f3fb", "\U0001f3ff")
# The ranges that BERT's tokenizer puts spaces around.
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


@dataclass(frozen=True)
class Chunk:
    """A piece of a text: ``text`` is the source's characters [start, end), without whitespace at either end.

    ``tokens`` is how many of the source's tokens lie in it, special tokens not counted.
    """

    chunk_no: int
    start: int
    end: int
    text: str
    tokens: int


@dataclass(frozen=True)
class ChunkedText:
    """The pieces of one text in order, and how many of its tokens are in none of them."""

    chunks: tuple[Chunk, ...]
    dropped_tokens: int

    @property
    def truncated(self) -> bool:
        """Whether the text goes on after its last chunk."""
        return self.dropped_tokens > 0


class _Boundary(IntEnum):
    """How good a place between two tokens is to cut at, best highest."""

    NONE = 0  # inside one character or grapheme
    INSIDE = 1  # perhaps inside a word
    WORD = 2  # beside punctuation or an ideograph
    SPACE = 3
    SENTENCE = 4


def chunk_texts(
    texts: Sequence[str],
    offsets: Iterable[Sequence[tuple[int, int]]],
    max_tokens: int,
    max_chunks: int = DEFAULT_MAX_CHUNKS,
) -> list[ChunkedText]:
    """``chunk_text`` for each text; ``offsets`` may be an iterator, so that they need not all be in memory."""
    return [chunk_text(text, of_text, max_tokens, max_chunks) for text, of_text in zip(texts, offsets, strict=True)]


def chunk_text(
    text: str, offsets: Sequence[tuple[int, int]], max_tokens: int, max_chunks: int = DEFAULT_MAX_CHUNKS
) -> ChunkedText:
    """Cut a text into chunks of at most ``max_tokens`` tokens, special tokens not counted.

    ``offsets`` are the (start, end) character offsets of the tokens of the whole text. Cuts fall at the end of a
    sentence, else a word, and make pieces of similar length; a line's end is whitespace like any other, as clean texts
    have none. Tokenized alone, each chunk has at most ``max_tokens`` tokens. Only whitespace is lost between chunks;
    what comes after ``max_chunks`` of them is dropped and counted. A text that is only whitespace has no chunk. Raises
    ValueError when max_tokens is below 200.
    """
    if max_tokens < 2 * LONGEST_WORD_TOKENS:
        raise ValueError(f"max_tokens is {max_tokens}: a chunk must have room for {2 * LONGEST_WORD_TOKENS} tokens.")
    if not text.strip():
        return ChunkedText((), dropped_tokens=0)
    starts = _chunk_starts(_boundaries(text, offsets), max_tokens, max_chunks) if len(offsets) > max_tokens else [0]
    ends = starts[1:] if len(starts) > max_chunks else [*starts[1:], len(offsets)]
    cuts = [0, *(_cut_position(text, offsets, token) for token in ends)]
    chunks = [
        _chunk(text, number, start, end, last - first)
        for number, ((start, end), (first, last)) in enumerate(zip(pairwise(cuts), pairwise([0, *ends]), strict=True))
    ]
    return ChunkedText(tuple(chunks), dropped_tokens=len(offsets) - ends[-1])


def _chunk(text: str, chunk_no: int, start: int, end: int, tokens: int) -> Chunk:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    stripped = piece.strip()
    return Chunk(chunk_no, start, start + len(stripped), stripped, tokens)


def _chunk_starts(boundaries: Sequence[_Boundary], max_tokens: int, max_chunks: int) -> list[int]:
    """The first token of each chunk; one start more than ``max_chunks`` where the text goes on after them."""
    starts, start = [0], 0
    while len(starts) <= max_chunks:
        # The rest of a word that was cut through may get up to LONGEST_WORD_TOKENS tokens, whatever it had before.
        whole_word = boundaries[start] >= _Boundary.WORD
        room = max_tokens if whole_word else max_tokens - LONGEST_WORD_TOKENS
        if len(boundaries) - start <= room:
            break
        start = _best_cut(boundaries, start, room)
        starts.append(start)
    return starts


def _best_cut(boundaries: Sequence[_Boundary], start: int, room: int) -> int:
    """The token that the next chunk begins with: at most ``room`` after ``start``, and best at an even share."""
    remaining = len(boundaries) - start
    share = remaining / -(-remaining // room)
    near_share = range(start + max(1, int(share * 2 / 3)), start + room + 1)
    best = max(near_share, key=lambda token: (boundaries[token], -abs(token - start - share)))
    if boundaries[best] >= _Boundary.WORD:
        return best
    # Nothing but one long run of tokens there: the latest cut between words before it, else the latest of all.
    anywhere = range(start + 1, start + room + 1)
    return max(anywhere, key=lambda token: (boundaries[token], token))


def _boundaries(text: str, offsets: Sequence[tuple[int, int]]) -> list[_Boundary]:
    """What lies before each token; the first has the text's start before it."""
    kinds = [_boundary(text, left[1], right[0]) for left, right in pairwise(offsets)]
    return [_Boundary.SENTENCE, *kinds]


def _boundary(text: str, end: int, start: int) -> _Boundary:
    """The boundary between a token that ends at ``end`` and one that begins at ``start``.

    From WORD on, BERT's tokenizer separates the two sides as well, so they have the same tokens apart as together.
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
    """Where the text is cut before ``token``: at the first whitespace, so that marks stay with what they follow."""
    if token == len(offsets):
        return len(text)
    end, start = offsets[token - 1][1], offsets[token][0]
    return next((position for position in range(end, start) if is_space(text[position])), start)


def stands_alone(character: str) -> bool:
    """Whether BERT's tokenizer makes the character a word of its own: punctuation and ideographs.

    True only where it is certain: punctuation in Unicode 3.2 and still so, as the tokenizer's tables are older than
    Python's.
    """
    code = ord(character)
    if code < 128:
        return character.isprintable() and not character.isalnum() and character != " "
    if ucd_3_2_0.category(character).startswith("P") and unicodedata.category(character).startswith("P"):
        return True
    return any(first <= code <= last for first, last in _IDEOGRAPHS)


def is_space(character: str) -> bool:
    """Whether BERT's tokenizer takes the character for a space between words."""
    # Not str.isspace: the tokenizer removes U+001C to U+001F and U+0085, and so joins what stands on either side.
    return character in "\t\n\r" or unicodedata.category(character) in ("Zs", "Zl", "Zp")


def _joins_previous(character: str) -> bool:
    first, last = _SKIN_TONES
    return (
        unicodedata.category(character).startswith("M") or character == _ZERO_WIDTH_JOINER or first <= character <= last
    )
