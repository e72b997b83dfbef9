"""summary/*: accounts, and what is said of them, in a few sentences.

Belongs here: extractive summaries of accounts and of brands' testimonials, summaries by a language model, the choice.
Not here: how sentences and posts are chosen (assets/transforms/summaries/), what a call costs (resources/spend/).
"""
