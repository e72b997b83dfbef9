"""Labels: people's judgements whether a post or an account belongs to a vertical.

Belongs here: reading dropped label files, what annotators agree on, doubtful labels, queues, training pairs.
Not here: the labelling page's own files (assets/labelling.py), models that are fitted on labels (assets/verticals.py).
"""
