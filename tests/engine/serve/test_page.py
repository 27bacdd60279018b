"""The search page in a real browser: search by text and by file, play, filter, rerank, errors; nothing axe objects to."""

import os
import shutil

import pytest

from .conftest import serving_command

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --autoplay-policy=no-user-gesture-required --mute-audio"
).split()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, served):
    """The page, opened; at the end nothing may have gone wrong in it, and nothing may have been asked of another host."""
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    troubles, hosts = [], set()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.split("/")[2] if "://" in request.url else ""))
    page.goto(served.url)
    page.wait_for_selector("#tags button")
    yield page
    page.close()
    assert not troubles
    assert {host for host in hosts if host} == {served.url.split("/")[2]}


def search(page, text):
    page.fill("#query", text)
    page.press("#query", "Enter")
    page.wait_for_function("document.querySelector('#status').textContent.includes('sound')")


def names(page):
    return page.eval_on_selector_all(".card .name", "nodes => nodes.map(node => node.textContent)")


def test_search_by_text(page, embedder, catalog):
    search(page, "a dog barks")
    wanted = catalog.index.search(embedder.encode_text(["a dog barks"]), 12).ids[0]
    assert names(page) == wanted
    page.wait_for_selector(".card:first-child .wave rect")


def test_play_one_sound_at_a_time(page):
    search(page, "a dog barks")
    first, second = page.locator(".card .play").nth(0), page.locator(".card .play").nth(1)
    first.click()
    page.wait_for_selector(".card:nth-child(1) .play[aria-pressed=true]")
    second.click()
    page.wait_for_selector(".card:nth-child(2) .play[aria-pressed=true]")
    assert first.get_attribute("aria-pressed") is None
    page.wait_for_selector(".card:nth-child(2) .play:not([aria-pressed])")  # it ends by itself


def test_search_by_a_chosen_file_and_by_a_dropped_one(page, sounds):
    page.set_input_files("#file", str(sounds[4]))
    page.wait_for_function("document.querySelector('#status').textContent.includes('sound 4.wav')")
    assert names(page)[0] == "sound 4.wav"
    page.evaluate(
        """async (url) => {
            const bytes = await (await fetch(url)).arrayBuffer();
            const data = new DataTransfer();
            data.items.add(new File([bytes], "dropped.wav", { type: "audio/wav" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        "/v1/sounds/7/audio",
    )
    page.wait_for_function("document.querySelector('#status').textContent.includes('dropped.wav')")
    assert names(page)[0] == "sound 7.wav"


def test_a_text_named_wav_is_told_as_an_error(page, tmp_path):
    (tmp_path / "text.wav").write_text("this is no sound")
    page.set_input_files("#file", str(tmp_path / "text.wav"))
    page.wait_for_selector("#error:not([hidden])")
    assert "query" in page.inner_text("#error") and names(page) == []
    search(page, "a dog barks")
    assert page.is_hidden("#error")


def test_filter_more_like_this_and_rerank(page):
    search(page, "a dog barks")
    page.click("#tags button:text-is('odd')")
    page.wait_for_function("document.querySelectorAll('.card').length === 6")
    assert all(int(name.split()[1].split(".")[0]) % 2 for name in names(page))
    page.click("#tags button:text-is('odd')")
    page.wait_for_function("document.querySelectorAll('.card').length === 12")
    page.check("#rerank")
    page.wait_for_function("document.querySelector('.card .score').textContent.includes('P(Yes)')")
    page.uncheck("#rerank")
    page.wait_for_function("!document.querySelector('.card .score').textContent.includes('P(Yes)')")
    first = names(page)[0]
    page.click(".card:first-child .more")
    page.wait_for_function("document.querySelector('#status').textContent.includes('sounds like')")
    assert first not in names(page)


def test_the_keyboard_is_enough(page):
    search(page, "a dog barks")
    page.press("#query", "ArrowDown")
    assert page.evaluate("document.activeElement === document.querySelector('.card')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.wait_for_selector(".card:nth-child(2) .play[aria-pressed=true]")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 360])
def test_axe_finds_nothing_and_a_phone_needs_no_sideways_scroll(page, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    search(page, "a dog barks")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_api_page_lists_every_route(page, served):
    page.goto(served.url + "/docs")
    page.wait_for_selector("#routes section")
    shown = page.eval_on_selector_all("#routes h2", "nodes => nodes.map(node => node.textContent)")
    assert "POST /v1/embeddings" in shown and len(shown) == len(served.get("/openapi.json").json()["paths"])


def test_the_demo_of_the_readme(browser, free_port, tmp_path):
    """`make serve`: the built-in model on the packaged clips. HARKEN_SCREENSHOTS says where its picture is kept."""
    with serving_command(["--device", "cpu"], free_port) as url:
        page = browser.new_page(viewport={"width": 1100, "height": 640})
        page.goto(url)
        search(page, "thunder in a storm")
        assert names(page)[0] == "thunder.ogg"
        page.wait_for_selector(".card:nth-child(6) .wave rect")
        folder = os.environ.get("HARKEN_SCREENSHOTS", str(tmp_path))
        page.screenshot(path=os.path.join(folder, "screenshot.png"))
        page.close()
