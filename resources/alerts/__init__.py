"""Alerts to people: the log, a webhook, SNS.

Belongs here: sending one message.
Not here: what is a problem, and whether it was told before (`pipelines/automation/`).
"""
