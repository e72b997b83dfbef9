"""summary/*: accounts in a few sentences.

Belongs here: extractive summaries, summaries by a language model, and the choice between them.
Not here: how sentences and posts are chosen (assets/transforms/summaries/), what a call costs (resources/spend/).
"""
