"""Code that every asset shares.

Belongs here: the asset decorator with its retry policy, and incremental refresh.
Not here: code of one stage, the list of stages and tables (assets/stages.py).
"""
