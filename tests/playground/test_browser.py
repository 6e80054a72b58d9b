"""The playground in a real browser: Chromium, by Selenium."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastnn

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("selenium")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver")]

# (train, test) as shares, from click to 99 % of both, and the milliseconds that it took
TO_99 = """
const done = arguments[0], start = performance.now();
const share = (id) => parseFloat(document.getElementById(id).textContent);
const look = () => {
  const now = performance.now();
  if ((share("train-right") >= 99 && share("test-right") >= 99) || now - start > 20000)
    done([share("train-right"), share("test-right"), now - start]);
  else requestAnimationFrame(look);
};
document.getElementById("play").click();
look();
"""


@pytest.fixture(scope="module")
def address():
    """Where a playground answers; a process of its own, ended by its id."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fastnn.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-m", "fastnn", "playground", "--no-browser"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment) as process:
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"playground: (http://127\.0\.0\.1:\d+/[\w-]{22}/)\n", line)
            assert found, line + process.stderr.read()
            yield found[1]
        finally:
            process.terminate()
            process.wait(20)
            errors = process.stderr.read()
    assert "Traceback" not in errors, errors


def start_browser(width=1360, height=900, dark=False, phone=False):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu",
                     f"--window-size={width},{height}",
                     *(["--blink-settings=preferredColorScheme=0"] if dark else ())):
        options.add_argument(argument)
    if phone:
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": {
            "width": width, "height": height, "pixelRatio": 2}})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    return driver


@pytest.fixture(scope="module")
def browser():
    driver = start_browser()
    yield driver
    driver.quit()


class Page:
    """What one does with the page and sees of it."""

    def __init__(self, driver, address, settings=""):
        self.driver = driver
        self.errors()  # of pages before
        driver.get("about:blank")  # the same address with other settings would load nothing
        driver.get(f"{address}#{settings}")
        self.until(lambda: driver.execute_script("return document.body.dataset.ready"))

    def until(self, true, seconds=20):
        return WebDriverWait(self.driver, seconds, 0.02).until(lambda _: true())

    def id(self, name):
        return self.driver.find_element(By.ID, name)

    def text(self, name):
        return self.id(name).text

    def click(self, name):
        self.id(name).click()

    def epoch(self):
        return int(self.text("epoch").replace(",", ""))

    def settings(self):
        return self.driver.execute_script("return location.hash.slice(1)")

    def shape(self):
        return self.text("shape").split(",")[0]

    def press(self, label):
        self.driver.find_element(By.CSS_SELECTOR, f'[aria-label="{label}"]').click()

    def keys(self, keys):
        self.driver.find_element(By.TAG_NAME, "body").send_keys(keys)

    def is_playing(self):
        return self.id("play").get_attribute("aria-pressed") == "true"

    def errors(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


def test_a_network_is_built_and_learns_circles(browser, address):
    page = Page(browser, address, "layers=")
    assert page.shape() == "2-1"
    page.click("more-layers")
    page.until(lambda: page.shape() == "2-2-1")
    for shape in ("2-3-1", "2-4-1"):
        page.press("layer 1: one unit more")
        page.until(lambda shape=shape: page.shape() == shape)
    page.click("more-layers")
    page.until(lambda: page.shape() == "2-4-2-1")
    assert page.settings() == "" and page.epoch() == 0
    assert len(browser.find_elements(By.CSS_SELECTOR, "#lines path")) == 8 + 8 + 2
    # the best of some times: the machine may have other work
    best = 1e9
    for _ in range(5):
        train, test, milliseconds = browser.execute_async_script(TO_99)
        assert train >= 99 and test >= 99
        best = min(best, milliseconds)
        page.click("reset")
        page.until(lambda: page.epoch() == 0 and not page.is_playing())
        if best < 1000:
            break
    print(f"99 % after {best:.0f} ms")
    assert best < 1000
    assert not page.errors()


def test_speed_while_it_draws(browser, address):
    """2,000 epochs a second of 200 points, 30 frames a second."""
    page = Page(browser, address)
    alone = browser.execute_async_script("""
        const done = arguments[0], start = performance.now();
        let n = 0;
        const count = () => ++n < 60 ? requestAnimationFrame(count) :
          done(60000 / (performance.now() - start));
        requestAnimationFrame(count);""")
    if alone < 45 or os.getloadavg()[0] > 1.5 * os.cpu_count():
        pytest.skip(f"the machine is busy: a page at rest gets {alone:.0f} frames a second")
    page.click("play")
    best = (0, 0)
    for _ in range(10):
        time.sleep(0.5)
        frames, epoch, start = (browser.execute_script(
            "return document.body.dataset.frames"), page.epoch(), time.perf_counter())
        time.sleep(1.5)
        frames = int(browser.execute_script("return document.body.dataset.frames")) - int(frames)
        epochs, seconds = page.epoch() - epoch, time.perf_counter() - start
        best = max(best, (frames / seconds, epochs / seconds))
        if best[0] >= 30 and best[1] >= 2000:
            break
    page.click("play")
    print(f"{best[0]:.1f} frames/s, {best[1]:,.0f} epochs/s")
    assert best[0] >= 30 and best[1] >= 2000
    assert not page.errors()


def test_lines_and_maps_follow_the_network(browser, address):
    page = Page(browser, address, "layers=3")
    before = browser.execute_script("return document.getElementById('map').toDataURL()")
    Select(page.id("speed")).select_by_value("10")
    page.click("play")
    page.until(lambda: page.epoch() >= 50)
    page.click("play")
    page.until(lambda: not page.is_playing())
    time.sleep(1)
    weights = browser.execute_async_script("""
        const done = arguments[0];
        (async () => {
          const api = await import(new URL("api.js", location.href));
          const real = window.fetch;
          let session;
          window.fetch = (path, options) => { session = path.split("/")[0];
            return real(path, options); };
          document.getElementById("show-code").click();
          await new Promise((r) => setTimeout(r, 1000));
          document.getElementById("code").close();
          window.fetch = real;
          const {weights} = api.unpack(await api.advance(session, {epochs: 0}), [2, 3, 1]);
          done(weights.map((w) => [...w]).flat());
        })();""")
    lines = browser.execute_script("""return [
        ...document.querySelectorAll("#lines path")].map((p) =>
        [p.getAttribute("stroke"), Number(p.getAttribute("stroke-width"))])""")
    colors = browser.execute_script("""return ["--negative", "--positive"].map((name) =>
        getComputedStyle(document.documentElement).getPropertyValue(name).trim())""")
    assert len(lines) == len(weights) == 9
    for weight, (color, width) in zip(weights, lines, strict=True):
        assert color == colors[weight >= 0]
        assert width == pytest.approx(min(8, 0.4 + 1.6 * abs(weight) ** 0.8), abs=0.06)
    after = browser.execute_script("return document.getElementById('map').toDataURL()")
    assert after != before
    # a unit's own map, and its bias
    unit = browser.find_element(By.CSS_SELECTOR, '[data-key="unit-0-1"]')
    ActionChains(browser).move_to_element(unit).perform()
    page.until(lambda: page.text("shown") == "layer 1, unit 2")
    assert re.match(r"Layer 1, unit 2: bias -?\d", page.text("hint"))
    assert browser.execute_script("return document.getElementById('map').toDataURL()") != after
    ActionChains(browser).move_to_element(page.id("epoch")).perform()
    page.until(lambda: page.text("shown") == "output")
    assert not page.errors()


def test_pause_step_and_reset(browser, address):
    page = Page(browser, address)
    page.click("step")
    page.until(lambda: page.epoch() == 1)
    first = page.text("train-loss")
    page.click("play")
    page.until(lambda: page.epoch() > 100)
    page.click("play")
    page.until(lambda: not page.is_playing())
    time.sleep(0.5)
    stopped = page.epoch()
    time.sleep(0.5)
    assert page.epoch() == stopped
    page.click("step")
    page.until(lambda: page.epoch() == stopped + 1)
    page.click("reset")
    page.until(lambda: page.epoch() == 0)
    page.click("step")
    page.until(lambda: page.epoch() == 1)
    assert page.text("train-loss") == first  # the same start


def test_keys(browser, address):
    page = Page(browser, address)
    page.keys("s")
    page.until(lambda: page.epoch() == 1)
    page.keys(" ")
    page.until(lambda: page.is_playing() and page.epoch() > 5)
    page.keys(" ")
    page.until(lambda: not page.is_playing())
    page.keys("r")
    page.until(lambda: page.epoch() == 0)
    # by keys alone: to the button that adds a layer, and on from there
    seen = []
    for _ in range(60):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        active = page.driver.switch_to.active_element
        seen.append(active.get_attribute("id") or active.get_attribute("data-key"))
        if seen[-1] == "more-0":
            break
    assert {"show-code", "rate", "more-layers"} <= set(seen) and seen[-1] == "more-0"
    active.send_keys(Keys.ENTER)
    page.until(lambda: page.shape() == "2-5-2-1")
    active = page.driver.switch_to.active_element
    assert active.get_attribute("data-key") == "more-0"  # where one was
    active.send_keys(Keys.SPACE)
    page.until(lambda: page.shape() == "2-6-2-1")
    assert not page.is_playing()


def test_layers_change_while_it_learns(browser, address):
    page = Page(browser, address, "layers=3")
    page.click("play")
    page.until(lambda: page.epoch() > 100)
    page.press("layer 1: one unit more")
    page.until(lambda: page.shape() == "2-4-1")
    assert page.is_playing()
    page.until(lambda: page.epoch() > 100)
    page.press("input x1^2")
    page.until(lambda: page.shape() == "3-4-1")
    page.click("fewer-layers")
    page.until(lambda: page.shape() == "3-1")
    page.until(lambda: page.epoch() > 10)
    Select(page.id("rate")).select_by_value("0.001")
    page.until(lambda: "rate=0.001" in page.settings())
    page.click("play")
    assert not page.errors() and not page.text("message")


def test_all_settings_come_back_after_a_reload(browser, address):
    settings = ("data=spirals&noise=0.15&test=0.3&points=300&draw=2&features=x1,x2,sin1"
                "&layers=5,3,2&activation=relu&loss=hinge&optimizer=momentum&rate=0.01"
                "&schedule=cosine&horizon=1000&l1=0.003&l2=0.01&dropout=0.1&batch=30&seed=4")
    page = Page(browser, address, settings)
    assert page.shape() == "3-5-3-2-1" and page.settings() == settings
    for name, value in (("rate", "0.01"), ("schedule", "cosine"), ("horizon", "1000"),
                        ("activation", "relu"), ("loss", "hinge"), ("optimizer", "momentum"),
                        ("l1", "0.003"), ("l2", "0.01"), ("dropout", "0.1"), ("batch", "30")):
        assert page.id(name).get_attribute("value") == value
    page.click("step")
    page.until(lambda: page.epoch() == 1)
    loss = page.text("test-loss")
    browser.refresh()
    page.until(lambda: browser.execute_script("return document.body.dataset.ready"))
    assert page.settings() == settings and page.shape() == "3-5-3-2-1" and page.epoch() == 0
    page.click("step")
    page.until(lambda: page.epoch() == 1)
    assert page.text("test-loss") == loss


def test_wrong_settings_in_the_address(browser, address):
    page = Page(browser, address, "data=spiral")
    assert "did you mean spirals" in page.text("message")
    assert page.shape() == "2-4-2-1" and page.settings() == ""


def test_a_file(browser, address, tmp_path):
    good, bad = tmp_path / "points.csv", tmp_path / "bad.csv"
    good.write_text("height,weight,kind\n" + "".join(
        f"{i % 9},{i % 7},{'cat' if (i % 9 > 4) == (i % 7 > 3) else 'dog'}\n" for i in range(200)))
    bad.write_text("height,weight,kind\n1,2\n" * 4)
    page = Page(browser, address)
    page.id("csv").send_keys(str(bad))
    page.until(lambda: "row 2 of the file has 2 values" in page.text("message"))
    assert page.settings() == ""
    page.id("csv").send_keys(str(good))
    page.until(lambda: "data=csv" in page.settings())
    assert page.text("x-name") == "→ height" and page.text("y-name") == "↑ weight"
    assert not page.text("message")
    page.click("play")
    page.until(lambda: page.text("train-right") >= "95" or page.text("train-right") == "100.0 %")
    page.click("play")
    Select(page.id("x")).select_by_value("weight")
    page.until(lambda: page.text("x-name") == "→ weight")
    browser.refresh()  # the file is kept by the page
    page.until(lambda: browser.execute_script("return document.body.dataset.ready"))
    assert "data=csv" in page.settings() and page.text("x-name") == "→ weight"
    page.click("show-code")
    page.until(lambda: "csv.reader" in page.text("script"))
    page.click("close-code")


def test_two_tabs(browser, address):
    first = Page(browser, address)
    one = browser.current_window_handle
    first.click("step")
    first.until(lambda: first.epoch() == 1)
    browser.switch_to.new_window("tab")
    second = Page(browser, address, "data=xor&layers=8,8")
    second.click("play")
    second.until(lambda: second.epoch() > 50)
    browser.switch_to.window(one)
    assert first.epoch() == 1 and first.shape() == "2-4-2-1"
    first.click("play")
    first.until(lambda: first.epoch() > 50)
    browser.switch_to.window(browser.window_handles[1])
    second.click("reset")
    browser.close()  # the end of one is not that of the other
    browser.switch_to.window(one)
    now = first.epoch()
    first.until(lambda: first.epoch() > now + 50)
    first.click("play")
    assert not first.errors()


def test_the_script_runs(browser, address):
    page = Page(browser, address, "noise=0.2&schedule=linear&horizon=100&batch=50")
    page.click("show-code")
    page.until(lambda: page.text("script"))
    script = page.id("script").get_attribute("textContent")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          timeout=100, env={**os.environ, "PYTHONPATH": str(
                              Path(fastnn.__file__).parents[1])})
    assert done.returncode == 0, done.stderr
    page.click("close-code")
    for _ in range(10):
        page.click("step")
    Select(page.id("speed")).select_by_value("10")
    page.click("play")
    page.until(lambda: page.epoch() >= 100)
    page.click("play")
    # after the hundredth the rate is all but nothing
    assert page.text("test-right") in done.stdout.replace("%", " %")


def test_a_program_that_has_ended(address, browser):
    page = Page(browser, address)
    browser.execute_script("window.fetch = () => Promise.reject(new TypeError('gone'))")
    page.click("play")
    page.until(lambda: "does not answer" in page.text("message"))
    assert not page.is_playing()


def test_a_session_that_has_ended(address, browser):
    page = Page(browser, address, "layers=3")
    page.click("step")
    page.until(lambda: page.epoch() == 1)
    browser.execute_script("""
        const real = window.fetch;
        window.fetch = (path, options) => { window.fetch = real;
          return real(path.replace(/^[^/]+/, "nobody"), options); };""")
    page.click("step")
    page.until(lambda: "begins anew" in page.text("message"))
    assert page.shape() == "2-3-1" and page.epoch() == 0
    page.click("step")
    page.until(lambda: page.epoch() == 1)


def test_pages_of_strangers_get_nothing(address, browser, tmp_path):
    (tmp_path / "evil.html").write_text(f"""<!doctype html><iframe src="{address}"></iframe>
        <script>window.found = [];
        for (const mode of ["cors", "no-cors"]) fetch("{address}open", {{method: "POST", mode}})
          .then((a) => found.push(a.type + a.status), () => found.push("refused"));
        </script>""")
    browser.get((tmp_path / "evil.html").as_uri())
    found = WebDriverWait(browser, 20).until(
        lambda _: (lambda f: f if len(f) == 2 else None)(browser.execute_script("return found")))
    assert found == ["refused", "refused"]
    log = "\n".join(entry["message"] for entry in browser.get_log("browser"))
    assert "frame-ancestors" in log


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_widths_and_themes(address, dark, phone, tmp_path):
    size = (390, 844) if phone else (1360, 900)
    driver = start_browser(*size, dark=dark, phone=phone)
    try:
        page = Page(driver, address, "data=hills&layers=8,8,8")
        assert driver.execute_script("return document.documentElement.dataset.theme") == (
            "dark" if dark else "light")
        width, inner = driver.execute_script(
            "return [document.documentElement.scrollWidth, innerWidth]")
        assert width <= inner  # the drawing alone scrolls to the side
        page.click("step")
        page.until(lambda: page.epoch() == 1)
        page.click("theme")
        assert driver.execute_script("return document.documentElement.dataset.theme") == (
            "light" if dark else "dark")
        small = driver.execute_script("""return [...document.querySelectorAll(
            "header button, header select, .settings select")].filter((b) =>
            b.offsetParent && b.getBoundingClientRect().height < 30).length""")
        assert small == 0
        assert not page.errors()
    finally:
        driver.quit()
