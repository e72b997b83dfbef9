"""Settings of the web page."""

from typing import ClassVar

from resources.environment_variables import Settings


class WebSettings(Settings):
    """The web page."""

    SECRETS: ClassVar = {"CIPPUS_WEB_API_KEY": "Key that every request to the page and its API needs, if it is set."}
