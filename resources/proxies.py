"""Keep requests to this machine away from the HTTP proxy that the environment names."""

from collections.abc import MutableMapping

_LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")


def exempt_loopback(variables: MutableMapping[str, str]) -> None:
    """Add loopback to the hosts that need no proxy, for all HTTP and gRPC clients. Remote hosts keep the proxy.

    Some clients read only one spelling of the variable, and others prefer one: both get the entries of the user.
    """
    upper, lower = variables.get("NO_PROXY", ""), variables.get("no_proxy", "")
    variables["NO_PROXY"], variables["no_proxy"] = _with_loopback(upper or lower), _with_loopback(lower or upper)
    if grpc := variables.get("no_grpc_proxy", ""):  # gRPC prefers it
        variables["no_grpc_proxy"] = _with_loopback(grpc)


def _with_loopback(hosts: str) -> str:
    # httpx takes an IPv6 address without brackets only.
    listed = [host.strip().strip("[]") for host in hosts.split(",")]
    return "*" if "*" in listed else ",".join(dict.fromkeys([*filter(None, listed), *_LOOPBACK]))
