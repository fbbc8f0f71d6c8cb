"""Pictures of the pages for the docs, from a real Chromium: `python -m tests.support.screenshots docs/images`.

Each view in both languages and both themes, on a desktop and on a phone.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from itertools import product
from pathlib import Path
from typing import Literal

from playwright.sync_api import sync_playwright

from streams.web.model import Fact
from tests.support.waiting import until
from tests.support.webdata import Facts, World, outage_of_x
from tests.support.webserver import web_server

OUTAGE = "/outages/x.20250524T1201Z"
#: Address of each view, and whether it is shown as it is after the outage.
VIEWS = {
    "overview": ("/", False),
    "service": ("/services/x", False),
    "outage": (OUTAGE, True),
    "history": ("/history", True),
}
#: What stands in a picture's name for each size, language and theme; nothing for the usual one.
SIZES = {"": (1440, 900), "-phone": (390, 844)}
LANGUAGES = {"": "en", "-ar": "ar"}
THEMES: dict[str, Literal["light", "dark"]] = {"": "light", "-dark": "dark"}
#: Minutes of the scenario that the pictures during the outage show.
_DURING_MINUTES = 84


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    chromium = shutil.which("chromium")
    if chromium is None:
        parser.error("chromium is not installed (Debian package chromium)")
    world = World(services=7)
    assert world.settings == outage_of_x()[0]
    facts = Facts(world.settings)
    during: list[Fact] = []
    after: list[Fact] = []
    for judgement in world.judgements():
        is_during = judgement.bin_ms < world.scenario.start_ms + _DURING_MINUTES * 60_000
        (during if is_during else after).extend(facts.of(judgement))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, web_server(Path(place), during) as server, sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for ended in (False, True):
            if ended:
                server.enter(after)
            for view, size, language, theme in product(VIEWS, SIZES, LANGUAGES, THEMES):
                address, is_after = VIEWS[view]
                if is_after is not ended:
                    continue
                width, height = SIZES[size]
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    locale={"en": "en-GB", "ar": "ar"}[LANGUAGES[language]],
                    timezone_id="UTC",
                    color_scheme=THEMES[theme],
                    reduced_motion="reduce",
                )
                page.goto(server.address + address, wait_until="load")
                page.wait_for_selector("body[data-updated]")
                page.evaluate("document.fonts.ready")
                drawn = page.locator("#chart canvas, .spark .line, .outages")
                until(lambda drawn=drawn: drawn.count() > 0, f"{address} is drawn")  # type: ignore[misc]
                page.screenshot(path=folder / f"{view}{size}{language}{theme}.png")
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
