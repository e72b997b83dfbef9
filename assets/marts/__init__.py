"""mart/*: tables for analysts.

Belongs here: the columns of each mart with what they mean, and the assets.
Not here: formulas (`assets/transforms/marts/`), their CSV files (`assets/quicksight.py`).
"""
