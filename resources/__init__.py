"""The only code that opens connections. Retries, throttling and budgets live here.

Belongs here: clients, engines, models, settings, errors.
Not here: what data means (assets/).
"""
