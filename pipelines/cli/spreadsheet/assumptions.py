"""The sheet Assumptions: what is sent in each case, in yellow cells that every sheet follows."""

from collections.abc import Sequence

from assets.transforms.estimates import Workload
from pipelines.cli.spreadsheet.layout import ROWS, Formats, Sheet, column_of

_NAMES = {
    "accounts": "accounts, each with one request",
    "text": "tokens of its posts that are sent, for an account",
    "overhead": "tokens around these posts (ids, quotes), for an account",
    "low": "low end of the 90 % interval, as a share of the tokens of the posts",
    "high": "high end of the 90 % interval, as a share of the tokens of the posts",
    "prompt": "tokens of the instructions, for an account",
    "answer": "tokens of an answer",
    "largest": "tokens that are sent for the largest account",
    "rate": "tokens per minute that a provider allows you",
    "posts_each": "posts that are embedded and searched, for an account, whatever is sent",
    "read": "tokens that are read in all",
    "written": "tokens that are written in all",
    "posts": "posts that are embedded and searched in all",
}
_FORMULAS = {"read": "={c}2*({c}3+{c}4+{c}7)", "written": "={c}2*{c}8", "posts": "={c}2*{c}11"}
_NOTES = (
    "Counted or estimated: the tokens of your own corpus, as said above. Assumed: everything about the team's case but "
    "its 193 billion tokens; the length of answers until 30 were reported; your rate limit; speeds of machines.",
    "A run sends of each post at most its first 180 tokens, and of each account a sample of posts: some of every "
    "subject, the newest and most engaging first, up to the most tokens that the case names.",
    "The team's case is an estimate that was made before: 440,000 accounts, every post, 193 billion tokens of texts "
    "alone, without instructions and answers. Posts of 40 tokens are assumed, and that posts an account follow an "
    "exponential distribution: for 20,000 posts an account, and for the largest account.",
    "Tokens are those of Llama 3; models of other makers count otherwise.",
    "No interval is known where the shares are 1: the tokens are counted, or stated by somebody.",
    "Quality is the published MMLU score of the model, the same test for all; higher is better. It does not say how "
    "good summaries are: `cippus evaluate summaries` does.",
    "Where the largest account does not fit the model's context, its posts must be sampled or sent in parts.",
    "A provider promises a batch within hours, usually 24, but not for any size; ask before you send billions.",
    "Not in any number: runs for changed accounts, replicas, transfer, tax, staff.",
)


def write_assumptions(
    sheet: Sheet, formats: Formats, cases: Sequence[Workload], tokens_per_minute: float, counted: str
) -> None:
    """Write a column for each case. ``counted``: how the tokens of the own corpus are known."""
    sheet.set_column(0, 0, 66)
    sheet.set_column(1, len(cases), 24)
    sheet.set_row(0, 64)
    names = [case.name for case in cases]
    sheet.write_row(0, 0, ["Change the yellow cells; every sheet follows.", *names], formats["head"])
    for row, name in enumerate(ROWS, 1):
        sheet.write(row, 0, _NAMES[name])
        for number, case in enumerate(cases):
            value, column = _values(case, tokens_per_minute)[name], column_of(number)
            if name in _FORMULAS:
                sheet.write_formula(row, number + 1, _FORMULAS[name].format(c=column), formats["number"], value)
            else:
                sheet.write(row, number + 1, value, formats["share" if name in ("low", "high") else "input"])
    for row, note in enumerate((f"Tokens of your own corpus: {counted}.", *_NOTES), len(ROWS) + 2):
        sheet.write(row, 0, note)


def _values(case: Workload, tokens_per_minute: float) -> dict[str, float]:
    accounts, text = case.accounts, case.text_tokens
    return {
        "accounts": accounts,
        "text": text.value / accounts,
        "overhead": case.overhead_tokens / accounts,
        "low": text.low / text.value,
        "high": text.high / text.value,
        "prompt": case.prompt_tokens,
        "answer": case.answer_tokens,
        "largest": case.largest,
        "rate": tokens_per_minute,
        "posts_each": case.posts / accounts,
        "read": case.input_tokens.value,
        "written": case.output_tokens,
        "posts": case.posts,
    }
