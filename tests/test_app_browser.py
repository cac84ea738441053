"""The page in a real browser: type, click, move, walk and follow a training; what it shows equals `StackGAN`'s images.

With $STACKGAN_SCREENSHOTS, a folder, it leaves images of the page there.
"""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import fetch, pixels, serving, until
from PIL import Image

from stackgan_keras.data import drawn_birds, grids
from stackgan_keras.inference.stackgan import StackGAN

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[1]
DESKTOP, PHONE = (1280, 900), (390, 844)
PINK, PURPLE = "this flower has pink petals and a yellow center", "a purple flower"
TINY = [
    *("--run", "followed", "--data.image_size", "16", "--generator.filters", "2", "--discriminator.filters", "2"),
    *("--generator.text_dim", "16", "--generator.condition_dim", "8", "--generator.noise_dim", "8"),
    *("--train.batch_size", "4", "--train.epochs", "5000"),
]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """An output folder in which a training goes on."""
    out = tmp_path_factory.mktemp("out")
    root = drawn_birds.write(out / "birds", count=24, classes=4, test_classes=1, embedding_dim=16, workers=1)
    words = ["-m", "stackgan_keras.train_stage1", *TINY, "--data.root", str(root), "--output_dir", str(out)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    with (out / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, env=environment)
    yield out
    process.terminate()
    process.wait(200)


@pytest.fixture(scope="module")
def address(out, tmp_path_factory):
    pytest.importorskip("gradio", reason="the page needs gradio: pip install '.[app]'")
    with serving(out, tmp_path_factory.mktemp("server") / "log") as address:
        yield address


@pytest.fixture(scope="module")
def model():
    return StackGAN.load(REPOSITORY / "weights/flowers")


class Page:
    """The page in a browser, by what one sees of it."""

    def __init__(self, browser, address: str, size: tuple[int, int]):
        from selenium.webdriver.common.by import By

        self.browser, self.by, self.address = browser, By, address
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(address)

    def all(self, selector: str) -> list:
        return [each for each in self.browser.find_elements(self.by.CSS_SELECTOR, selector) if each.is_displayed()]

    def labelled(self, label: str, kind: str = "input"):
        """The control below a label."""
        path = f"//*[normalize-space(text())='{label}']/ancestor::*[.//{kind}][1]//{kind}"
        return until(lambda: [each for each in self.browser.find_elements(self.by.XPATH, path) if each.is_displayed()])[
            0
        ]

    def click(self, words: str, kind: str = "button:not([tabindex='-1'])") -> None:
        until(lambda: [each for each in self.all(kind) if each.text.strip() == words])[0].click()

    def open_tab(self, name: str) -> None:
        self.click(name, "button[role=tab]")

    def write(self, control, words: str) -> None:
        from selenium.webdriver.common.keys import Keys

        control.send_keys(Keys.CONTROL, "a")
        control.send_keys(words)

    def addresses(self, kind: str) -> list[str]:
        return [each.get_attribute("src") for each in self.browser.find_elements(self.by.CSS_SELECTOR, f"{kind} img")]

    def shows(self, kind: str, expected: np.ndarray) -> bool:
        """Whether the images of a gallery are these (N, height, width, 3), as files that anyone can download."""
        found = [pixels(io.BytesIO(fetch(each))) for each in self.addresses(f"{kind} .thumbnail-item")]
        return np.array_equal(found, expected)

    def shows_both(self, made: dict) -> float:
        """Seconds until both galleries show what `generate` made."""
        started = time.monotonic()
        for kind, name in ((".stage2", "image"), (".stage1", "stage1_image")):
            flat = made[name].reshape(-1, *made[name].shape[2:])
            until(lambda kind=kind, flat=flat: self.shows(kind, flat))
        return time.monotonic() - started

    def screenshot(self, name: str) -> None:
        folder = os.environ.get("STACKGAN_SCREENSHOTS")
        if folder:
            width, height = self.browser.execute_script(
                "return [window.innerWidth, document.documentElement.scrollHeight]"
            )
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
            Path(folder, f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = webdriver.Chrome(options, Service(driver))
    yield browser
    browser.quit()


@pytest.fixture
def open_page(browser, address):
    return lambda size=DESKTOP: Page(browser, address, size)


def test_sentences_become_images(open_page, model):
    started = time.monotonic()
    page = open_page()
    page.shows_both(model.generate(PINK, 4, 0))
    first = time.monotonic() - started
    page.screenshot("draw_1280")
    drawn = model.generate([PINK, PURPLE], 4, 0)
    page.write(page.labelled("Sentences, one a line", "textarea"), f"{PINK}\n{PURPLE}")
    page.click("Draw", "button.primary")
    typed = page.shows_both(drawn)
    page.screenshot("several_1280")
    # shown by pytest -s, and no assertion, as it depends on what else the machine does
    print(f"first image after {first:.2f} s, the next after {typed:.2f} s")


def test_controls_change_the_images(open_page, model):
    from selenium.webdriver.common.keys import Keys

    page = open_page()
    page.shows_both(model.generate(PINK, 4, 0))
    page.click("Roll dice")
    seed = until(lambda: int(page.labelled("Seed").get_attribute("value")))
    page.shows_both(model.generate(PINK, 4, seed))
    page.labelled("Noise strength", "input[@type='range']").send_keys(Keys.ARROW_LEFT * 4)
    page.shows_both(model.generate(PINK, 4, seed, noise_scale=0.8))
    page.labelled("Condition strength", "input[@type='range']").send_keys(Keys.ARROW_RIGHT * 2)
    page.shows_both(model.generate(PINK, 4, seed, noise_scale=0.8, epsilon_scale=1.1))
    page.write(page.labelled("Sentences, one a line", "textarea"), f"{PINK}\n{PURPLE}")
    page.all("input[type=checkbox]")[0].click()
    scales = {"noise_scale": 0.8, "epsilon_scale": 1.1, "same_noise": True}
    page.shows_both(model.generate([PINK, PURPLE], 4, seed, **scales))
    page.click("a white flower")
    page.shows_both(model.generate("a white flower", 4, seed, **scales))


def test_another_run_brings_its_examples(open_page, model):
    page = open_page()
    page.shows_both(model.generate(PINK, 4, 0))
    page.all("input[aria-label=Run]")[0].click()
    until(lambda: [each for each in page.all("ul[role=listbox] li") if "drawn" in each.text])[0].click()
    own = "this bird is red with black wings"
    page.shows_both(StackGAN.load(REPOSITORY / "weights/drawn").generate(own, 4, 0))
    assert page.labelled("Sentences, one a line", "textarea").get_attribute("value") == own
    assert own in page.all("body")[0].text


def test_what_is_wrong_or_not_read_is_said(open_page):
    page = open_page()
    box = page.labelled("Sentences, one a line", "textarea")
    page.write(box, "ein grüner Vogel <b>mit</b> 🐦")
    until(lambda: "characters read as spaces: the text encoder knows a to z" in page.all("body")[0].text)
    page.write(box, "\n".join("abcdefghi"))
    page.click("Draw", "button.primary")
    until(lambda: page.all(".toast-body") and "9 sentences were given" in page.all(".toast-body")[0].text)
    page.write(box, " ")
    page.click("Draw", "button.primary")
    until(lambda: "there is no sentence: write what" in " ".join(each.text for each in page.all(".toast-body")))
    assert "Traceback" not in page.browser.page_source


def test_a_walk(open_page, model):
    page = open_page()
    page.open_tab("Walk")
    page.write(page.labelled("From", "textarea"), PINK)
    page.write(page.labelled("To", "textarea"), PURPLE)
    page.click("Walk", "button.primary")
    made = model.interpolate(PINK, PURPLE, 12, 0)["image"]
    expected = grids.grid([made[:6], made[6:]])

    def walked():
        strip, animation = (io.BytesIO(fetch(each)) for each in page.addresses(".framed")[:2])
        return np.array_equal(pixels(strip), expected) and Image.open(animation).n_frames == 22

    until(walked)
    page.screenshot("walk_1280")


def test_a_training_is_followed(open_page, out):
    until(lambda: len(list((out / "results/followed/stage1").glob("epoch_*.png"))) > 1, 120)
    page = open_page()
    page.open_tab("Training")

    def epoch():
        line = next(line for line in page.all("body")[0].text.splitlines() if line.startswith("Epoch "))
        assert "images per second" in line and line.endswith("left.")
        return int(line.split()[1])

    seen, newest = until(epoch), until(lambda: [each for each in page.addresses(".framed") if each][:1])
    page.screenshot("training_1280")
    assert pixels(io.BytesIO(fetch(newest[0]))).shape[2] == 3
    until(lambda: epoch() > seen)
    until(lambda: [each for each in page.addresses(".framed") if each][:1] != newest)


def test_a_phone(open_page, model):
    page = open_page(PHONE)
    page.shows_both(model.generate(PINK, 4, 0))
    for tab in ("Draw", "Walk", "Training"):
        page.open_tab(tab)
        until(lambda tab=tab: tab != "Training" or "left." in page.all("body")[0].text)
        until(lambda tab=tab: tab != "Walk" or len([each for each in page.addresses(".framed") if each]) > 1)
        until(lambda: page.browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0])
        page.screenshot(f"{tab.lower()}_390")


def test_nothing_comes_over_the_net(open_page, model):
    page = open_page()
    page.shows_both(model.generate(PINK, 4, 0))
    sent = [json.loads(each["message"])["message"] for each in page.browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in sent if each["method"] == "Network.requestWillBeSent"]
    assert asked and not [url for url in asked if not url.startswith((page.address, "data:", "blob:"))]
    assert not [each for each in page.browser.get_log("browser") if "Uncaught" in each["message"]]
