"""The S3 request governor: one process per host, through which every S3 client of that host sends its requests.

Belongs here: a forward proxy that paces, repeats and counts requests, and holds no credentials. Not here: the rate
algorithm (resources/rate_control.py), starting or finding the process (resources/governor_process.py).
"""
