"""Objects that S3 lists and does not give out: archived ones, and those whose encryption key may not be used."""

from botocore.exceptions import ClientError

from resources.errors import PermanentFailure


class WithheldObjectError(PermanentFailure):
    """S3 lists an object and does not give it out; the message says why."""


def withheld(error: ClientError, uri: str) -> ClientError | WithheldObjectError:
    """Return what to raise for an object: WithheldObjectError if S3 keeps it to itself, else the error."""
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code == "InvalidObjectState":
        return WithheldObjectError(f"S3 does not give out {uri}: it is archived, so restore it first.")
    if code.startswith("KMS.") or (code == "AccessDenied" and "kms:" in message.lower()):
        return WithheldObjectError(f"S3 does not give out {uri}: its encryption key may not be used ({code}).")
    return error
