#!/usr/bin/env python3
"""test_page.py - the web page of `rz serve`: its headers, and what it does in a headless Chromium.

The browser needs chromium, chromium-driver and selenium (packages-browser.txt); where one is absent its tests are
skipped with a word. RZ_PICTURES names a folder for pictures of the page, light and dark.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import tempfile
import unittest

import rzlib
import scripted
from serving import Server

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait
except ImportError:
    webdriver = None

KEY = "not-a-secret"
PATIENCE_S = 120
ANSWER = ["Two ", "**bold** ", "words", " and ", "`code`", ".\n\n", "- one\n", "- *two*\n\n", "```python\n", "print(\"<b>\")\n", "```\n\n",
          "1. first\n", "2. second\n\n", "| n | *v* |\n|---|--:|\n", "| x\\|y | `1` |\n\n", "<img src=x onerror=alert(1)>"]


def browser_missing():
    if webdriver is None:
        return "no Python package selenium (packages-browser.txt)"
    for tool in ("chromium", "chromedriver"):
        if not shutil.which(tool):
            return "no %s (packages-browser.txt)" % tool
    return None


class Case(unittest.TestCase):
    @classmethod
    def serve(cls, *args, script, context=2048):
        path = os.path.join(cls.folder.name, "talker.gguf")
        return Server(*args, model=scripted.write(path, script, context=context))

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)


class Route(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.serve("-o", "plugin.http.api_keys=" + KEY, script=["Hello."])
        cls.addClassCleanup(cls.server.stop)

    def test_answer(self):
        status, headers, text = self.server.request("GET", "/")
        self.assertEqual((status, headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        with open(os.path.join(rzlib.SOURCE, "plugins", "frontends", "http", "page.html"), "rb") as f:
            self.assertEqual(text, f.read())
        self.assertLess(len(text), 64 << 10)
        self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        status, head, nothing = self.server.request("HEAD", "/")
        self.assertEqual((status, head["Content-Length"], nothing), (200, str(len(text)), b""))
        self.assertEqual(self.server.request("POST", "/", {})[0], 405)

    def test_policy(self):
        _, headers, text = self.server.request("GET", "/")
        policy = headers["Content-Security-Policy"]
        for tag, kind in ((b"style", "style-src"), (b"script", "script-src")):
            parts = re.findall(b"<%s>(.*?)</%s>" % (tag, tag), text, re.S)
            self.assertEqual(len(parts), 1)
            want = base64.b64encode(hashlib.sha256(parts[0]).digest()).decode()
            self.assertIn("%s 'sha256-%s'" % (kind, want), policy)
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)

    def test_nothing_from_elsewhere(self):
        text = self.server.request("GET", "/")[2].decode()
        self.assertEqual(re.findall(r"(?i)\b(?:https?:|wss?:)?//[a-z0-9.-]+\.[a-z]{2,}", text), [])
        self.assertEqual(re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|@import|\burl\(|\sstyle=", text), [])
        self.assertEqual(set(re.findall(r"\b(?:src|href)=\"([^\"]*)\"", text)), {"data:,", "#text"})

    def test_tag(self):
        tag = self.server.request("GET", "/")[1]["ETag"]
        for given in (tag, "W/" + tag, '"other", ' + tag, "*"):
            status, headers, text = self.server.request("GET", "/", headers={"If-None-Match": given})
            self.assertEqual((status, text, headers["ETag"], headers["Cache-Control"]), (304, b"", tag, "no-cache"))
        self.assertEqual(self.server.request("GET", "/", headers={"If-None-Match": '"other"'})[0], 200)

    def test_off(self):
        server = self.serve("-o", "plugin.http.page=off", script=["Hello."])
        try:
            status, _, text = server.request("GET", "/")
            self.assertEqual((status, json.loads(text)["error"]["code"]), (404, "not_found"))
        finally:
            server.stop()


class Browser(Case):
    """One browser for all classes."""

    browser = None

    @classmethod
    def setUpClass(cls):
        why = browser_missing()
        if why:
            raise unittest.SkipTest(why)
        super().setUpClass()
        if Browser.browser is None:
            options = webdriver.ChromeOptions()
            options.binary_location = shutil.which("chromium")
            for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1200,900",
                         "--user-data-dir=" + tempfile.mkdtemp(prefix="page")):
                options.add_argument(word)
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            Browser.browser = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
            unittest.addModuleCleanup(Browser.browser.quit)

    def setUp(self):
        """A page that is left keeps its conversation, so what is kept is cleared from another one of the server."""
        base = "http://127.0.0.1:%d" % self.server.port
        self.browser.get(base + "/health")
        self.browser.execute_script("sessionStorage.clear(); localStorage.clear();")
        self.browser.get_log("browser")
        self.browser.get(base + "/")

    def find(self, css):
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def text(self, css):
        """Read at once: the page may replace an element between two questions."""
        return self.browser.execute_script("return (document.querySelector(arguments[0]) || {}).textContent || ''", css)

    def until(self, holds, what):
        WebDriverWait(self.browser, PATIENCE_S, 0.05).until(lambda _: holds(), what)

    def ready(self):
        self.until(lambda: self.find("#model").is_enabled(), "no models")

    def idle(self):
        self.until(lambda: self.find("#send").is_displayed(), "the answer does not end")

    def type(self, *words):
        self.browser.switch_to.active_element.send_keys(*words)

    def picture(self, name):
        folder = os.environ.get("RZ_PICTURES")
        if folder:
            self.browser.save_screenshot(os.path.join(folder, name + ".png"))

    def complaints(self):
        return [line["message"] for line in self.browser.get_log("browser") if line["level"] == "SEVERE"]


class Chat(Browser):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.serve(script=ANSWER)
        cls.addClassCleanup(cls.server.stop)

    def test_a_streamed_answer(self):
        self.ready()
        self.assertEqual(self.find("#model").text, "talker")
        self.picture("empty")
        self.type("One", Keys.SHIFT, Keys.ENTER, Keys.NULL, "two", Keys.ENTER)
        self.idle()
        self.assertEqual(self.text(".turn.user .said"), "One\ntwo")
        self.assertEqual([e.text for e in self.all(".turn.assistant strong")], ["bold"])
        self.assertEqual([e.text for e in self.all(".turn.assistant ul li")], ["one", "two"])
        self.assertEqual([e.text for e in self.all(".turn.assistant ol li")], ["first", "second"])
        self.assertEqual([e.text for e in self.all(".table th, .table td")], ["n", "v", "x|y", "1"])
        self.assertEqual(self.text(".table td.right code"), "1")
        self.assertEqual(self.text(".code pre"), 'print("<b>")')
        self.assertEqual(self.text(".code .bar span"), "python")
        self.assertEqual(self.all(".said img"), [])
        self.assertIn("<img src=x onerror=alert(1)>", self.text(".turn.assistant"))
        self.assertRegex(self.text(".facts"), r"^\d+ in .*· %d out · [0-9.]+ tokens/s · first after" % len(ANSWER))
        self.assertEqual(self.browser.switch_to.active_element.get_attribute("id"), "text")
        self.assertEqual(self.complaints(), [])
        self.looks()

    def looks(self):
        """Both colours, with the parameters open, and a narrow window."""
        for colours in ("light", "dark"):
            self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                         {"features": [{"name": "prefers-color-scheme", "value": colours}]})
            self.until(lambda: self.find("html").get_attribute("data-theme") == colours, "the colours do not follow")
            self.picture(colours)
            self.find("#open").click()
            self.picture(colours + "-parameters")
            self.browser.set_window_size(500, 900)
            self.picture(colours + "-narrow-parameters")
            self.find("#open").click()
            self.picture(colours + "-narrow")
            wide = self.browser.execute_script("return document.documentElement.scrollWidth > innerWidth")
            self.assertFalse(wide, "the page is wider than its window")
            self.browser.set_window_size(1200, 900)
        for want in ("light", "dark"):  # from auto on
            self.find("#theme").click()
            self.assertEqual(self.find("html").get_attribute("data-theme"), want)
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def test_a_reload(self):
        self.ready()
        self.find("#open").click()
        self.find("#max_tokens").send_keys("3")
        self.find("#text").click()
        self.type("Hello", Keys.ENTER)
        self.until(lambda: "cut at the token limit" in self.text(".facts"), "no limit")
        before = self.text("#talk")
        self.assertIn("Two bold words", before)
        self.browser.refresh()
        self.ready()
        self.assertEqual(self.text("#talk"), before)
        self.assertEqual(self.find("#max_tokens").get_attribute("value"), "3")
        self.find("#new").click()
        self.browser.refresh()
        self.assertEqual(self.all(".turn"), [])

    def test_an_error_in_full(self):
        self.ready()
        self.browser.execute_script("document.getElementById('top_p').value = '7'; "
                                    "document.getElementById('parameters').checkValidity = () => true;")
        self.type("Hello", Keys.ENTER)
        self.until(lambda: self.find("#error").is_displayed(), "no error")
        said = self.text("#error p")
        self.assertIn("HTTP 400: ", said)
        self.assertIn("param: top_p", said)
        self.assertIn("request: req_", said)
        self.picture("error")
        self.assertEqual(self.find("#text").get_attribute("value"), "Hello")
        self.assertEqual(self.all(".turn"), [])

    def test_keys_alone_reach_everything(self):
        self.ready()
        self.browser.execute_script("document.activeElement.blur(); document.body.focus();")
        self.find("#open").click()
        seen = []
        self.browser.execute_script("document.querySelector('a.aside').focus()")
        for _ in range(16):
            seen.append(self.browser.switch_to.active_element.get_attribute("id"))
            self.type(Keys.TAB)
        wanted = ["model", "new", "open", "theme", "system", "temperature", "top_p", "top_k", "max_tokens", "seed", "key", "reset"]
        self.assertEqual(seen[1:13], wanted)
        self.assertIn("text", seen)
        unnamed = self.browser.execute_script(
            "return [...document.querySelectorAll('input, textarea, select')].filter(e => !e.labels.length).map(e => e.id)")
        self.assertEqual(unnamed, [])


class Stop(Browser):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.words = 1200
        cls.server = cls.serve(script=["word %d, " % i for i in range(cls.words)])
        cls.addClassCleanup(cls.server.stop)

    def ask(self, act):
        """Asks; the page itself acts once the answer has begun, so that it does not matter how fast anything is."""
        self.browser.execute_script(
            "const act = new Function(arguments[0]);"
            "const o = new MutationObserver(() => { if (document.querySelector('.assistant .said')?.textContent.includes('word 3,'))"
            " { o.disconnect(); act(); } });"
            "o.observe(document.querySelector('#talk'), {childList: true, subtree: true, characterData: true});", act)
        self.type("Hello", Keys.ENTER)

    def test_the_button_and_the_key(self):
        for act in ("document.querySelector('#stop').click()",
                    "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))"):
            self.ready()
            self.ask(act)
            self.until(lambda: self.text(".facts"), "no end")
            self.assertRegex(self.text(".facts"), r"about \d+ out.* tokens/s.* stopped$")
            self.assertIn("word 3,", self.text(".turn.assistant .said"))
            self.assertNotIn("word %d," % (self.words - 1), self.text(".turn.assistant .said"))
            self.assertFalse(self.find("#error").is_displayed())
            gauge = 'vllm:num_requests_running{model_name="talker"}'
            self.until(lambda: self.server.metrics()[gauge] == 0, "the engine goes on")
            self.find("#new").click()

    def test_a_reload_on_the_way(self):
        self.ready()
        self.ask("location.reload()")
        self.until(lambda: "cut off by a reload" in self.text(".facts"), "the conversation is not there again")
        self.assertIn("word 3,", self.text(".turn.assistant .said"))
        self.assertNotIn("word %d," % (self.words - 1), self.text(".turn.assistant .said"))
        self.ready()


class Key(Browser):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.serve("-o", "plugin.http.api_keys=" + KEY, script=["Hello."])
        cls.addClassCleanup(cls.server.stop)

    def test_it_is_asked_for(self):
        self.until(lambda: self.find("#key").is_displayed(), "no field")
        self.assertIn("HTTP 401", self.text("#error p"))
        self.type(KEY, Keys.ENTER)
        self.ready()
        self.find("#text").click()
        self.type("Hello", Keys.ENTER)
        self.until(lambda: "Hello." in self.text(".turn.assistant .said"), "no answer")
        kept = self.browser.execute_script("return [JSON.stringify(localStorage), sessionStorage.getItem('rz.key')]")
        self.assertEqual(kept, ["{}", KEY])


if __name__ == "__main__":
    unittest.main()
