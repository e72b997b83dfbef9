"""The files of `cippus export`, one module per kind. A file appears whole: it is written beside its place, then moved.

Belongs here: how values look in a kind of file.
Not here: options of the command, reading the lake.
"""
