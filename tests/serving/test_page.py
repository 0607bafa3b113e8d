"""The page in a real browser: upload, answer, block, broken file, limits; nothing is kept or fetched elsewhere."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gcvideo.cli.main import main
from tests.trained import write_run

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = os.environ.get("GCVIDEO_SERVE_RUN")  # a trained one, for the screenshots of the documents
    return Path(folder) if folder else write_run(tmp_path_factory.mktemp("runs") / "tiny", ["walk", "run", "hop"])


@pytest.fixture(scope="module")
def served(run, synthetic, tmp_path_factory):
    """(address, temporary folder of the server) of `gcvideo serve` with examples."""
    pytest.importorskip("gradio")
    temporary = tmp_path_factory.mktemp("tmp")
    command = [sys.executable, "-m", "gcvideo", "serve", "--ckpt_path", run / "checkpoints" / "best.ckpt"]
    command += ["--port", "0", "--host", "127.0.0.1", "--examples", synthetic.parent / "val", "--device", "cpu"]
    command += ["--max_mb", "0.5", "--max_s", "30"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True)
    yield server.stdout.readline().strip(), temporary
    server.send_signal(signal.SIGINT)
    assert server.wait(timeout=60) == 0
    assert list(temporary.glob("gcvideo-serve-*")) == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed: the page is not tested in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "window-size=1280,1150", "disable-dev-shm-usage",
        f"user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


def wait(condition, what, seconds=240):
    end = time.time() + seconds
    while time.time() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"no {what} in {seconds} s")


def text(browser, where="body"):
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

    try:
        return browser.find_element("css selector", where).text
    except (StaleElementReferenceException, NoSuchElementException):  # replaced while it was read
        return ""


def screenshot(browser, name):
    folder = os.environ.get("GCVIDEO_SCREENSHOTS")
    if folder:
        browser.save_screenshot(str(Path(folder) / name))


def upload(browser, path):
    field = wait(lambda: browser.find_elements("css selector", "#upload input[type=file]"), "upload field")[0]
    field.send_keys(str(path))


def uploads(temporary):
    (folder,) = temporary.glob("gcvideo-serve-*")
    return [path for path in folder.rglob("*") if path.is_file()]


def pictures(browser, where):
    return [image.get_attribute("src") for image in browser.find_elements("css selector", f"{where} img")]


def test_in_a_browser(served, browser, synthetic, tmp_path):
    url, temporary = served
    browser.get(url)
    video = min((synthetic.parent / "test").glob("*.mp4"))
    shutil.copy(video, tmp_path / "my clip.mp4")
    wait(lambda: "Drop a clip of at most 0.5 MB and 30 s" in text(browser), "page")

    upload(browser, tmp_path / "my clip.mp4")
    wait(lambda: "my clip.mp4: " in text(browser, "#message"), "answer")
    wait(lambda: pictures(browser, "#timeline"), "timeline")
    (first,) = wait(lambda: pictures(browser, "#overlay"), "overlay")
    assert first.startswith("data:image/gif;base64,")
    assert len(text(browser, "#scores").split("%")) > 3
    screenshot(browser, "upload.png")
    wait(lambda: not uploads(temporary), f"deletion of the upload, but {uploads(temporary)}", 60)

    browser.find_element("css selector", "#block input").click()
    options = wait(lambda: browser.find_elements("css selector", "[role=option]"), "blocks")
    assert len(options) >= 2
    options[-1].click()
    wait(lambda: pictures(browser, "#overlay") not in ([], [first]), "overlay of another block")
    screenshot(browser, "block.png")

    (tmp_path / "broken.mp4").write_bytes(video.read_bytes()[:2000])
    upload(browser, tmp_path / "broken.mp4")
    wait(lambda: "broken.mp4 can't be read" in text(browser, "#message"), "message")
    assert pictures(browser, "#overlay") == pictures(browser, "#timeline") == []
    assert "Traceback" not in browser.page_source
    screenshot(browser, "broken.png")

    browser.find_element("css selector", "#example input").click()
    example = wait(lambda: browser.find_elements("css selector", "[role=option]"), "examples")[0]
    name = example.text
    example.click()
    wait(lambda: f"{name}: " in text(browser, "#message"), "answer to an example")
    assert (synthetic.parent / "val" / name).is_file()

    (tmp_path / "large.mp4").write_bytes(video.read_bytes() + bytes(600_000))
    upload(browser, tmp_path / "large.mp4")
    wait(lambda: "exceeds" in text(browser).lower() or "larger" in text(browser).lower(), "message on the size")
    screenshot(browser, "large.png")
    wait(lambda: not uploads(temporary), "deletion of all uploads", 60)
    assert requested_elsewhere(browser, url) == []


def requested_elsewhere(browser, url):
    """Addresses of other servers that the page has asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    addresses = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert url in addresses
    return [a for a in addresses if not a.startswith((url, "data:", "blob:", "chrome"))]


def test_a_port_that_is_taken(served, run, capsys):
    url, _ = served
    port = url.rstrip("/").rpartition(":")[2]
    assert main(["serve", "--ckpt_path", str(run / "checkpoints" / "best.ckpt"), "--port", port]) == 2
    assert f"can't listen at 127.0.0.1:{port}" in capsys.readouterr().err
