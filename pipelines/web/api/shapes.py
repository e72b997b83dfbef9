"""Shapes of the API's JSON. They are filled from the objects that the page's templates read."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assets.shortlists import LONGEST_NAME

Text = Annotated[str, Field(max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Value = Annotated[str, Field(max_length=100)]


class Shape(BaseModel):
    """A shape that is read from an object's attributes."""

    model_config = ConfigDict(from_attributes=True)


class Problem(Shape):
    """Why there is no answer, in a sentence."""

    error: str


class Filters(Shape):
    """The filters of the page, under the names of its addresses."""

    vertical: Value = ""
    network: Value = ""
    language: Value = ""
    country: Value = ""
    posted_after: Value = Field("", description="A day, such as 2026-01-31: what is new since then.")
    posted_before: Value = ""
    min_followers: Value = ""
    max_followers: Value = ""


class SearchQuery(Filters):
    """A search. It needs `q`, `like` or both."""

    q: Text = Field("", description="A query in the query language.")
    like: Text = Field("", description="Id or handle of an account whose posts are searched with.")
    page: int = Field(1, ge=1, le=50)


class Question(Filters):
    """A question to the posts."""

    q: Text = Field(min_length=1)


class Evidence(Shape):
    """A post of an account that fits."""

    post_id: str
    text: str
    posted_at: str | None
    relevance: float | None


class About(Shape):
    """What is known about an account."""

    display_name: str | None
    bio: str | None
    network: str | None
    country: str | None
    language: str | None
    followers: int | None
    verticals: list[str]


class FoundAccount(Shape):
    """An account of a search, with its best posts."""

    account_id: str
    handle: str | None
    relevance: float | None
    about: About | None
    evidence: list[Evidence]


class SearchPage(Shape):
    """A page of results. `found` accounts were found so far; more may follow unless `is_complete`.

    Without `is_read` the embedding model could not read the query, and accounts were found by their words alone.
    """

    accounts: list[FoundAccount]
    mended: dict[str, str]
    facets: dict[str, dict[str, int]]
    found: int
    is_complete: bool
    is_read: bool
    fits_well: bool


class Claim(Shape):
    """A sentence and the posts that say so. A quote has its account."""

    text: str
    post_ids: list[str]
    account_id: str | None


class Source(Shape):
    """A cited post."""

    post_id: str
    account_id: str
    handle: str | None
    text: str
    posted_at: str | None


class DroppedClaim(Shape):
    """A claim of a model that is not shown, and why."""

    text: str
    reason: str


class AskAnswer(Shape):
    """An answer. Without claims, `abstained` says why. `method` is quotes or model."""

    question: str
    method: str
    claims: list[Claim]
    sources: list[Source]
    abstained: str | None
    note: str | None
    dropped: list[DroppedClaim]
    model: str | None
    usd: str | None
    seconds: float


class Post(Shape):
    """A post with its numbers."""

    post_id: str
    posted_at: datetime | None
    text: str | None
    hashtags: list[str] | None
    likes: int | None
    comments: int | None
    views: int | None
    shares: int | None


class Tag(Shape):
    """A vertical of an account, with the interval of its score."""

    vertical: str
    score: float
    score_low: float | None
    score_high: float | None
    threshold: float


class Sentence(Shape):
    """A sentence of a summary, and its post."""

    text: str
    post_id: str


class Share(Shape):
    """A share of an audience."""

    value: str
    share_percent: float
    as_of: date | None


class CreatorPage(Shape):
    """An account as the page shows it, with a page of its posts, newest first."""

    account: dict[str, Any]
    summary: list[Sentence]
    tags: list[Tag]
    audience: dict[str, list[Share]]
    posts: list[Post]
    has_more: bool


class Vertical(Shape):
    """A row of the roster."""

    model_config = ConfigDict(from_attributes=True, extra="allow")

    vertical: str
    item_kind: str
    status: str
    reason: str


class Brand(Shape):
    """The ratings of a brand, or of one of its campaigns."""

    brand: str | None
    campaign: str | None
    testimonials: int
    rated: int
    average_rating: float | None
    positive_percent: float | None
    negative_percent: float | None


class Testimonial(Shape):
    """A cited testimonial; `account_id` is null if it is about no account."""

    testimonial_id: str
    rating: int | None
    created_at: datetime | None
    campaign: str | None
    account_id: str | None


class TestimonialSentence(Shape):
    """A sentence, the testimonials that say it, and what it is about. `model` wrote it; null if it is quoted."""

    text: str
    testimonials: list[Testimonial]
    theme: str | None
    model: str | None


class Theme(Shape):
    """A theme, and how many of the cited testimonials praise it, and criticise it."""

    theme: str
    praise: int
    criticism: int


class BrandTestimonials(Shape):
    """What testimonials say of a brand or campaign. `reason` says why there is no sentence."""

    brand: Brand
    praise: list[TestimonialSentence]
    criticism: list[TestimonialSentence]
    neither: list[TestimonialSentence]
    themes: list[Theme]
    campaigns: list[Brand]
    reason: str | None


class Shortlist(Shape):
    """A shortlist's accounts."""

    name: str
    accounts: list[dict[str, Any]]


class AddToShortlist(Shape):
    """Accounts to add to a shortlist, which is made if there is none."""

    name: Name
    account_ids: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(min_length=1, max_length=100)


class Judgement(Shape):
    """Whether an item answers a query; `grade` null takes a judgement of today back."""

    query: Annotated[str, Field(min_length=1, max_length=500)]
    item_kind: Literal["post", "account"]
    item_id: Annotated[str, Field(min_length=1, max_length=500)]
    grade: Literal[0, 1] | None
