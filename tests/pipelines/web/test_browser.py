"""The page in headless Chromium: keys, phone width, dark mode, axe, and a server that is replaced meanwhile."""

import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from pipelines.local.server_process import wait_until
from pipelines.web.app import make_app
from pipelines.web.site import Site
from resources.spend.resource import SpendResource
from tests.fakes.spend_store import MemoryStore
from tests.worlds.provider_llm import llm_of, provider_at
from tests.worlds.small_site import HOSTILE, VERTICAL, SmallSite

CHROMIUM = shutil.which("chromium")
VIEWS = (
    *("/", "/?q=sustainable+fashion&country=DE", "/ask?q=sustainable+fashion", "/creator?id=anna", "/label"),
    *(f"/?{urlencode({'q': 'sourdough'})}", f"/creator?{urlencode({'id': HOSTILE})}", "/spend", "/pipeline", "/audit"),
    *("/verticals", "/shortlists", "/shortlists?name=Spring", "/testimonials", "/testimonials?brand=Acme"),
    f"/testimonials?{urlencode({'brand': HOSTILE})}",
    f"/label?{urlencode({'annotator': 'ann', 'vertical': VERTICAL})}",
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]


@contextmanager
def served(site: Site, port: int = 0) -> Iterator[str]:
    """Serve a site from a thread, on a port of loopback."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        server = uvicorn.Server(uvicorn.Config(make_app(site), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            assert wait_until(lambda: server.started, 20)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Without its sandbox Chromium also runs as root; it opens nothing but this page.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def site(small: SmallSite, store: MemoryStore) -> Site:
    spend = SpendResource(s3=small.lake.s3, ceiling_usd="5")
    return Site(small.lake, small.searcher, store, spend)


def watched(browser: Browser, said: list[str], *, dark: bool) -> Page:
    """A phone of 320 px; what its console says and what it asks of others is added to ``said``."""
    context = browser.new_context(viewport={"width": 320, "height": 640}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: None if "//127.0.0.1:" in request.url else said.append(request.url))
    return page


@pytest.mark.parametrize("dark", [False, True])
def test_every_view_fits_a_phone_and_axe_finds_nothing(browser: Browser, site: Site, dark: bool) -> None:
    said: list[str] = []
    site.shortlists.add("Spring", ["anna", HOSTILE], "ann")
    site.audit.record("ann", "export", "exported the shortlist 'Spring' as CSV")
    with served(site) as address:
        page = watched(browser, said, dark=dark)
        for view in VIEWS[1:6] if dark else VIEWS:  # those with every colour
            page.goto(f"{address}{view}")
            assert page.evaluate("document.documentElement.scrollWidth") == 320, view
            found = [(rule["id"], rule["nodes"][0]["html"]) for rule in Axe().run(page).response["violations"]]
            assert found == [], f"{view}: {json.dumps(found)[:600]}"
        page.context.close()
    assert said == []


def test_posts_are_labelled_by_keyboard_and_a_new_server_goes_on(
    browser: Browser, site: Site, store: MemoryStore
) -> None:
    said: list[str] = []
    page = watched(browser, said, dark=False)
    with served(site) as address:
        page.goto(f"{address}{VIEWS[-1]}")
        for key in ("y", "n", "s", "y", "u", "n"):
            with page.expect_navigation():
                page.keyboard.press(key)
    port = int(address.rpartition(":")[2])
    with served(Site(site.lake, site.searcher, store, site.spend), port):
        with page.expect_navigation():
            page.keyboard.press("y")
        assert "4 labels" in page.inner_text("main")
    assert site.labelling.labels("ann")["is_member"].to_list() == [True, False, False, True]
    page.context.close()
    assert said == []


def test_a_shared_link_filters_and_citations_work_with_a_mouse(browser: Browser, site: Site) -> None:
    said: list[str] = []
    with served(site) as address:
        page = watched(browser, said, dark=False)
        page.goto(address)
        page.fill("#q", "sustainable fashion")
        page.click("summary")
        page.select_option("#vertical", VERTICAL)
        page.select_option("#country", label="Germany (16)")
        page.click("text=Search >> nth=-1")
        page.wait_for_url(re.compile(r"q=sustainable"))
        names = page.locator(".results h3").all_inner_texts()
        other = watched(browser, said, dark=False)
        other.goto(page.url)
        assert other.locator(".results h3").all_inner_texts() == names
        assert any("Anna" in name for name in names)
        page.goto(f"{address}/ask?q=sustainable+fashion")
        page.click(".cite >> nth=0")
        assert page.url.endswith("#post-1")
        for opened in (page, other):
            opened.context.close()
    assert said == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_models_answer_comes_with_thumbs_that_leave_it_where_it_is(
    browser: Browser, site: Site, store: MemoryStore, dark: bool
) -> None:
    said: list[str] = []
    provider = provider_at(address := "http://browser-provider.test/v1")
    claims = [{"text": "Sustainable fashion is expensive.", "post_ids": ["anna/2"]}]
    provider.text = lambda _: json.dumps({"claims": claims * 2})
    asking = Site(site.lake, site.searcher, store, site.spend, llm_of(address))
    with served(asking) as served_at:
        page = watched(browser, said, dark=dark)
        page.goto(f"{served_at}/ask?q=sustainable+fashion")
        with page.expect_navigation():
            page.click("button.paid")
        assert page.inner_text(".claim") == "Sustainable fashion is expensive. [1]"
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        assert Axe().run(page).response["violations"] == []
        thumb = page.locator(".sources .thumbs button").first
        with page.expect_response("**/judge"):
            thumb.click()
        page.wait_for_selector(".sources .thumbs button[aria-pressed=true]")
        assert page.inner_text(".claim").startswith("Sustainable fashion is expensive.")
        page.context.close()
    assert provider.requests == 1
    assert asking.judging.given("local", "sustainable fashion") == {("post", "anna/2"): 1}
    assert said == []
