"""`cippus web`: serve the web page."""

from contextlib import ExitStack
from typing import Annotated

import typer

from pipelines.cli.terminal import err, require_stack, shown
from resources.errors import InputError
from resources.settings import Environment, environment, home

DEFAULT_PORT = 8765
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LOCAL_UI = "http://127.0.0.1:3000"
_SECONDS_TO_CLOSE = 2
_SHORTEST_KEY, _MOST_CONNECTIONS = 32, 500
_MOST_HEADER_BYTES, _KEEP_ALIVE_SECONDS = 32_768, 5


def web(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = DEFAULT_PORT,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but loopback needs --user-header or an API key.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(help="Name under which browsers reach the page, besides localhost. Repeatable.")
    ] = None,
    user_header: Annotated[
        str, typer.Option(help="Header in which an authenticating proxy says who asks, such as X-Forwarded-User.")
    ] = "",
    dagster_url: Annotated[
        str, typer.Option(help="Address of the Dagster UI, for links; by default that of `cippus dev`.")
    ] = "",
) -> None:
    """Serve the page: search, ask, creators, labelling, spend, pipeline. Only this machine can reach it by default."""
    from resources.wiring import web_api_key

    api_key = web_api_key()
    if api_key and (len(api_key) < _SHORTEST_KEY or not api_key.isascii()):
        message = f"CIPPUS_WEB_API_KEY has {len(api_key)} characters; it must have at least {_SHORTEST_KEY}, all ASCII."
        raise InputError(message)
    if host not in _LOOPBACK and not user_header and not api_key:
        message = f"The host is {host}, which others reach; name your authenticating proxy's header by --user-header, "
        raise InputError(f"{message}or set CIPPUS_WEB_API_KEY.")
    if dagster_url and not dagster_url.startswith(("http://", "https://")):
        message = f"The address of the Dagster UI is {dagster_url}; it must begin with http:// or https://."
        raise InputError(message)
    if host in _LOOPBACK:
        from pipelines.local.server_process import why_not_free

        if reason := why_not_free(port):
            message = f"Port {port} of 127.0.0.1 cannot be used: {reason}. Choose another: cippus web --port {port + 1}"
            raise InputError(message)
    require_stack()
    with ExitStack() as opened:
        with err.status("opening the page"):
            import uvicorn
            from dagster import DagsterInstance

            from pipelines.cli.lineage import instance_folder
            from pipelines.web.app import make_app
            from pipelines.web.site import open_site

            is_local = environment() is not Environment.PRODUCTION
            folder = str(instance_folder(home()))
            instance = opened.enter_context(DagsterInstance.from_config(folder) if is_local else DagsterInstance.get())
            address = dagster_url or (_LOCAL_UI if is_local else "")
            site = opened.enter_context(open_site(instance, address, user_header, tuple(name or ()), api_key))
            site.searcher.warm()
        err.print(f"The page is at http://{shown(host)}:{port}. Stop it with Ctrl-C.", highlight=False, soft_wrap=True)
        uvicorn.run(
            make_app(site),
            host=host,
            port=port,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_SECONDS_TO_CLOSE,
        )
