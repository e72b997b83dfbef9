"""When and where the stages run.

Belongs here: definitions, automation, checks, jobs, the command, the embedded stack.
Not here: what a stage does (assets/), connections (resources/).
"""
