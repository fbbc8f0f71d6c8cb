"""Pictures of the pages for the docs, from a real Chromium: `python -m tests.support.screenshots docs/images`."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from playwright.sync_api import sync_playwright

from streams.web.model import Fact
from tests.support.waiting import until
from tests.support.webdata import Facts, World, outage_of_x
from tests.support.webserver import web_server

DESKTOP, PHONE = (1440, 900), (390, 844)
OUTAGE = "/outages/x.20250524T1201Z"
#: Name, address, size, language and theme of each; those with `ended` are of the time after the outage.
PICTURES: tuple[tuple[str, str, tuple[int, int], str, Literal["light", "dark"], bool], ...] = (
    ("overview", "/", DESKTOP, "en", "light", False),
    ("overview-phone-ar", "/", PHONE, "ar", "light", False),
    ("service-dark", "/services/x", DESKTOP, "en", "dark", False),
    ("service-ar", "/services/x", DESKTOP, "ar", "light", False),
    ("outage", OUTAGE, DESKTOP, "en", "light", True),
    ("outage-phone-dark", OUTAGE, PHONE, "en", "dark", True),
    ("history", "/history", DESKTOP, "en", "light", True),
)
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
            for name, address, (width, height), language, theme, is_after in PICTURES:
                if is_after is not ended:
                    continue
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    locale={"en": "en-GB"}.get(language, language),
                    timezone_id="UTC",
                    color_scheme=theme,
                    reduced_motion="reduce",
                )
                page.goto(server.address + address, wait_until="load")
                page.wait_for_selector("body[data-updated]")
                page.evaluate("document.fonts.ready")
                drawn = page.locator("#chart canvas, .spark .line, .outages")
                until(lambda drawn=drawn: drawn.count() > 0, f"{address} is drawn")  # type: ignore[misc]
                page.screenshot(path=folder / f"{name}.png")
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
