"""The tokenizer of multilingual-e5-small: SentencePiece's unigram model with the vocabulary of XLM-RoBERTa."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from resources.models.tokenizer import TextTokenizer, Tokens

_FEW_CHARACTERS = 20_000
_SPACE = "▁"


@dataclass(frozen=True)
class Vocabulary:
    """Pieces of texts and their scores, and the numbers of those that open, close and stand for unknown text."""

    pieces: Sequence[str]
    scores: Sequence[float]
    opening: int
    closing: int
    unknown: int


class UnigramTokenizer(TextTokenizer):
    """Cuts texts into the pieces whose scores have the highest sum. Safe to use from several threads.

    The library takes .9 CPU s and 250 MB to index 250,000 pieces. A few short texts are tokenized by an index of the
    pieces that occur in them: a query has the same tokens in milliseconds.
    """

    name: str = "xlm-roberta@1571fc98"

    chunk_tokens: int = 252
    """As many as a chunk of the other encoder has, with a prefix. Cut inside a word, its rest may have more alone."""

    def __init__(self, vocabulary: Vocabulary, max_tokens: int) -> None:
        """Index nothing yet."""
        self.max_tokens = max_tokens
        self.opening, self.closing, self.unknown = vocabulary.opening, vocabulary.closing, vocabulary.unknown
        self._pieces, self._scores = vocabulary.pieces, vocabulary.scores

    def _tokens(self, texts: list[str], with_offsets: bool) -> Iterator[Tokens]:
        is_whole = "_whole" in self.__dict__ or sum(map(len, texts)) > _FEW_CHARACTERS
        numbers = None if is_whole else self._occurring(texts)
        tokenizer = self._whole if numbers is None else self._tokenizer(numbers)
        encode = tokenizer.encode_batch if with_offsets else tokenizer.encode_batch_fast
        for encoding in encode(texts, add_special_tokens=False):
            ids = encoding.ids if numbers is None else [numbers[id_] for id_ in encoding.ids]
            yield Tokens(ids, encoding.offsets if with_offsets else [])

    def published(self) -> str:
        """Return the tokenizer as tokenizer.json of the library, with special tokens around every text."""
        made = self._tokenizer(range(len(self._pieces)))
        opening, closing = (f" {self._pieces[number]}" for number in (self.opening, self.closing))
        special_tokens = [(opening, self.opening), (closing, self.closing)]
        made.post_processor = processors.TemplateProcessing(
            single=[opening, "$A", closing], special_tokens=special_tokens
        )
        text: str = made.to_str()
        return text

    @cached_property
    def _whole(self) -> Tokenizer:
        return self._tokenizer(range(len(self._pieces)))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {piece: number for number, piece in enumerate(self._pieces)}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._pieces))

    @cached_property
    def _least(self) -> int:
        """The number of the piece of least score: the library derives the score of unknown text from it."""
        return min(range(len(self._scores)), key=self._scores.__getitem__)

    def _occurring(self, texts: Sequence[str]) -> list[int]:
        """Return the numbers of all pieces that the texts' words contain, and of those that every index needs."""
        words = {word for text in texts for word, _ in _SPLITTER.pre_tokenize_str(_NORMALIZER.normalize_str(text))}
        found = {self.unknown, self._least}
        for word in words:
            for start in range(len(word)):
                for end in range(start + 1, min(start + self._longest, len(word)) + 1):
                    number = self._numbers.get(word[start:end])
                    if number is not None:
                        found.add(number)
        return sorted(found)

    def _tokenizer(self, numbers: Sequence[int]) -> Tokenizer:
        """Return the library's tokenizer of some pieces, in their order."""
        # No text can have the pieces of special tokens, whatever it says: a word has no space.
        vocabulary = [
            (f" {piece}" if piece.startswith("<") and piece.endswith(">") else piece, self._scores[number])
            for number in numbers
            for piece in [self._pieces[number]]
        ]
        made = Tokenizer(models.Unigram(vocabulary, numbers.index(self.unknown), byte_fallback=False))
        made.normalizer, made.pre_tokenizer = _NORMALIZER, _SPLITTER
        return made


# SentencePiece's nmt_nfkc: without control characters, every space a space, compatibility characters replaced. Of the
# 4,837 characters that the model's own table replaces, 3 combining marks alone come out otherwise: composed.
_NORMALIZER = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
_SPLITTER = pre_tokenizers.Sequence(
    [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="always")]
)
