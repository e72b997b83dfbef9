"""Compute the marts from rows of the lake and of the stages after it.

Belongs here: formulas of metrics, in polars; which values count as impossible; the CSV of a mart.
Not here: what a metric means (the columns of `assets/marts/`), reading and writing.
"""
