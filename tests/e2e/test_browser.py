# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium: a page that a sandbox serves talks to its server, and is itself a client."""

import json
import subprocess
import sys

import pytest

import results
from browser import Browser
from conftest import REPO
from support import GUEST_SERVER, NODE, NOBODY

LAB = REPO / "tests/lab"
PAGE = "<!doctype html><title>a page</title><script type=module src=page.js></script>"
SDK = json.loads((LAB / "js/node_modules/e2b/package.json").read_text())["version"]


@pytest.fixture(scope="module")
def site(lab, tmp_path_factory):
    """The name of a port of a sandbox that serves the page and its script, the SDK in it."""
    directory = tmp_path_factory.mktemp("site")
    made = subprocess.run([NODE, LAB / "js/bundle.mjs", LAB / "js/page.mjs", directory / "page.js"],
                          capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    (directory / "page.html").write_text(PAGE)
    server = lab.popen([sys.executable, LAB / "serve_page.py", "8010", GUEST_SERVER,
                        directory / "page.js", directory / "page.html"], "domain",
                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    name = server.stdout.readline().strip()
    assert name.startswith("8010-")
    yield name
    server.communicate(timeout=30)
    assert server.returncode == 0


@pytest.fixture(scope="module")
def browser(lab):
    b = Browser(lab)
    yield b
    b.close()


def test_a_page_is_a_client(lab, browser, site):
    """The page's own port by fetch, WebSocket and server-sent events; then the SDK, across origins."""
    browser.open(f"https://{site}/page")
    assert browser.evaluate("location.protocol + document.title") == "https:a page"
    options = json.dumps({"apiKey": lab.key, "domain": lab.domain})
    features = browser.evaluate(f"run({options})")
    results.write("browser", SDK, "domain", features)
    assert len(features) == 12 and not [f for f in features if "failed" in f], features


@pytest.mark.parametrize("name, title", [("8000-" + NOBODY, "Sandbox Not Found"),
                                         ("8011-", "Closed Port Error")])
def test_a_person_sees_a_page_when_nothing_is_there(lab, browser, site, name, title):
    if name.endswith("-"):
        name += site.split(".")[0].split("-")[1]
    browser.open(f"https://{name}.{lab.domain}/")
    assert browser.evaluate("document.title") == title
    seen = browser.evaluate("document.body.innerText")
    assert name.split("-")[1] in seen
    scripted = browser.evaluate("fetch('/').then(async (a) => [a.status, (await a.json()).code])")
    assert scripted == [502, 502]
