"""Asset checks: every promise of a stage, verified against the stored data.

Belongs here: reading and comparing. Start with `declaration.py`; `catalogue.py` lists every check.
Not here: repair.
"""
