"""The S3 request governor: one process per host, through which every S3 client of that host sends its requests.

Belongs here: a forward proxy that paces, retries and counts requests and holds no credentials; its rate algorithm; its
process. Not here: S3 clients (resources/s3/client.py).
"""
