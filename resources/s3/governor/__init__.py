"""The S3 request governor: one proxy process per host that paces, retries and counts S3 requests.

Belongs here: the proxy, its rate algorithm, and starting and finding its process. It holds no credentials.
Not here: S3 clients (resources/s3/client.py).
"""
