"""What exists: one file is one stage, one asset group, one key prefix and one folder in the lake."""
