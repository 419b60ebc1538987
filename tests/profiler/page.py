#!/usr/bin/env python3
"""A report's page in a real browser: page.py CHROMIUM MOXIE MODEL FOLDER [--shots]

Headless Chromium is driven over its debugging pipe, so keys are keys. By light and by dark: nothing is said on the
console, nothing is asked from outside the file, nothing is wider than the window; Tab reaches every control in the order of
the page and each shows that it has the focus; every key of the page's help does what it says, by what the page then shows.
With --shots pictures of the whole page are left in the folder.
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import time

WIDTH, HEIGHT = 1280, 900
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
        "ArrowRight": 39, "ArrowDown": 40}
CONTROLS = "button, summary, canvas[tabindex], a[href], input, select, textarea"


class Browser:
    """Chromium with one page; commands and events are JSON documents that end with a zero byte, on descriptors 3 and 4."""

    def __init__(self, chromium, folder):
        to_read, self.to = os.pipe()
        self.answers, from_write = os.pipe()

        def descriptors():
            os.dup2(to_read, 103)
            os.dup2(from_write, 104)
            os.dup2(103, 3)
            os.dup2(104, 4)

        self.process = subprocess.Popen(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
             "--user-data-dir=" + os.path.join(folder, "browser"), "--remote-debugging-pipe", "about:blank"],
            preexec_fn=descriptors, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.rest, self.number, self.events = b"", 0, []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def message(self):
        while b"\0" not in self.rest:
            piece = os.read(self.answers, 1 << 20)
            if not piece:
                raise SystemExit("FAILED: the browser went away")
            self.rest += piece
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **params):
        self.number += 1
        order = {"id": self.number, "method": method, "params": params}
        if self.session:
            order["sessionId"] = self.session
        data = json.dumps(order).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data):]
        while True:
            m = self.message()
            if m.get("id") == self.number:
                if "error" in m:
                    raise SystemExit("FAILED: %s: %s" % (method, m["error"]))
                return m["result"]
            self.events.append(m)

    def run(self, js):
        r = self.call("Runtime.evaluate", expression=js, returnByValue=True)
        if "exceptionDetails" in r:
            raise SystemExit("FAILED: %s\n  %s" % (js, r["exceptionDetails"]))
        return r["result"].get("value")

    def open(self, path, scheme):
        self.events = []
        self.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url="file://" + path)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self.message())

    def key(self, key, shift=False):
        code = KEYS.get(key) or ord(key.upper())
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **({"text": text} if text else {}), **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def shot(self, path):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def complaints(self):
        said = []
        for e in self.events:
            p = e.get("params", {})
            if e.get("method") == "Runtime.consoleAPICalled" or e.get("method") == "Runtime.exceptionThrown":
                said.append(json.dumps(p)[:400])
            elif e.get("method") == "Log.entryAdded":
                said.append(p["entry"]["text"])
            elif e.get("method") == "Network.requestWillBeSent" and p["request"]["url"].split(":")[0] not in ("file", "data"):
                said.append("asks for " + p["request"]["url"])
        return said

    def close(self):
        self.session = None
        try:
            self.call("Browser.close")
        except SystemExit:
            pass
        self.process.wait(timeout=30)


checks = 0


def check(what, good, detail=""):
    global checks
    checks += 1
    if not good:
        raise SystemExit("FAILED: %s %s" % (what, detail))


def same(what, a, b):
    check(what, a == b, "%r is not %r" % (a, b))


# Which control has the focus, whether it shows and is in view, and how many there are.
FOCUS = """(() => {
  const all = [...document.querySelectorAll(%s)].filter(e => e.checkVisibility());
  const e = document.activeElement, i = all.indexOf(e);
  if (i < 0) return { at: -1, n: all.length };
  const s = getComputedStyle(e), r = e.getBoundingClientRect();
  return { at: i, n: all.length, tag: e.tagName, text: e.textContent.slice(0, 40), outline: s.outlineStyle === "none" ? 0 : parseFloat(s.outlineWidth),
    colour: s.outlineColor, seen: r.bottom > 0 && r.top < innerHeight && r.width > 0 };
})()""" % json.dumps(CONTROLS)


def tab_through(b, what):
    """Every control in turn, from the top; and back from the end."""
    b.run("document.activeElement.blur(); scrollTo(0, 0)")
    b.click(2, 2)  # the page's edge: Tab begins at the top
    n = b.run(FOCUS)["n"]
    for i in range(n):
        b.key("Tab")
        f = b.run(FOCUS)
        same("%s: the %d-th Tab" % (what, i + 1), (f["at"], f["n"]), (i, n))
        check("%s: focus is seen on %s '%s'" % (what, f["tag"], f["text"]), f["outline"] >= 2 and f["seen"], f)
    if n > 1:
        b.key("Tab", shift=True)
        same("%s: and back" % what, b.run(FOCUS)["at"], n - 2)
    return n


def focus_on(b, js):
    check("there is " + js, b.run("(() => { const e = %s; if (!e) return false; e.focus(); return document.activeElement === e; })()" % js))


def heat_map(b, d):
    """The arrow keys, m, s, Home and End, by the line below the map."""
    def note():
        return b.run("document.getElementById('cell').textContent")

    def expect(layer, expert, hidden=False):
        row = d["layers"][layer]
        uses, away = row["uses_by_expert"][expert], row["away_by_expert"][expert]
        text = note()
        check("the map is at layer %d, expert %d" % (layer, expert), "Layer %d, expert %d: %d uses" % (layer, expert, uses) in text
              and "%d not resident" % away in text, text)
        same("what is shown", text.startswith("Not resident"), hidden)

    last_layer, last_expert = d["n_layers"] - 1, d["n_experts"] - 1
    focus_on(b, "document.querySelector('canvas')")
    expect(0, 0)
    for key, layer, expert in (("ArrowRight", 0, 1), ("ArrowDown", 1, 1), ("ArrowDown", 2, 1), ("ArrowLeft", 2, 0), ("ArrowLeft", 2, 0),
                               ("ArrowUp", 1, 0), ("End", 1, last_expert), ("ArrowRight", 1, last_expert), ("Home", 1, 0), ("ArrowUp", 0, 0),
                               ("ArrowUp", 0, 0)):
        b.key(key)
        expect(layer, expert)
    for _ in range(last_layer + 1):
        b.key("ArrowDown")
    expect(last_layer, 0)
    pixels = "document.querySelector('canvas').toDataURL()"
    before = b.run(pixels)
    b.key("m")
    expect(last_layer, 0, hidden=True)
    check("m changes the picture", b.run(pixels) != before)
    b.key("m")
    same("m again", b.run(pixels), before)
    b.key("s")
    order = sorted(range(d["n_experts"]), key=lambda e: (-d["layers"][last_layer]["uses_by_expert"][e], e))
    b.key("Home")
    expect(last_layer, order[0])
    b.key("ArrowRight")
    expect(last_layer, order[1])
    b.key("s")
    b.key("Home")
    expect(last_layer, 0)
    box = b.run("(() => { const c = document.querySelector('canvas'); c.scrollIntoView({ block: 'center' }); const r = c.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })()")
    b.click(box[0] + box[2] * (last_expert + .5) / d["n_experts"], box[1] + box[3] * 1.5 / d["n_layers"])
    expect(1, last_expert)


def tables(b, d):
    """A summary opens with Enter, a column is sorted with the space bar, numbers come out as CSV."""
    b.run("document.querySelectorAll('summary').forEach(e => { if (e.textContent === 'figures of the layers') e.id = 'figures'; })")
    focus_on(b, "document.getElementById('figures')")
    b.key("Enter")
    same("Enter opens", b.run("document.getElementById('figures').parentNode.open"), True)
    column = "[...document.querySelectorAll('#figures ~ .scroll tr')].slice(1).map(r => +r.cells[3].textContent)"
    focus_on(b, "document.querySelectorAll('#figures ~ .scroll th button')[3]")
    b.key(" ")
    values = b.run(column)
    same("the space bar sorts", values, sorted(values, reverse=True))
    same("and it is said how", b.run("document.activeElement.parentNode.getAttribute('aria-sort')"), "descending")
    b.key(" ")
    same("and turns round", b.run(column), sorted(values))
    same("which is said too", b.run("document.activeElement.parentNode.getAttribute('aria-sort')"), "ascending")
    focus_on(b, "[...document.querySelectorAll('#figures ~ button')].pop()")
    b.key("Enter")
    text = b.run("document.activeElement.value")
    same("rows of the CSV", len(text.split("\n")), d["n_layers"] + 1)
    same("its head", text.split("\n")[0].split(",")[:2], ["layer", "uses"])
    same("uses of the last layer", int(text.split("\n")[-1].split(",")[1]), d["layers"][-1]["uses"])
    same("all of it is marked", b.run("document.activeElement.selectionEnd"), len(text))


def theme(b, scheme):
    ground = "getComputedStyle(document.body).backgroundColor"
    first = b.run(ground)
    bright = sum(int(x) for x in first[4:-1].split(",")[:3]) > 3 * 128
    same("the ground by " + scheme, bright, scheme == "light")
    focus_on(b, "document.getElementById('theme')")
    b.key("Enter")
    check("Enter changes it", b.run(ground) != first)
    b.key(" ")
    same("the space bar back", b.run(ground), first)


def fits(b, what):
    for width in (WIDTH, 390):
        b.call("Emulation.setDeviceMetricsOverride", width=width, height=HEIGHT, deviceScaleFactor=1, mobile=False)
        same("%s: nothing is wider than %d" % (what, width), b.run("document.documentElement.scrollWidth <= innerWidth"), True)
    b.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)


def look_at(b, folder, name, scheme, shots):
    path = os.path.join(folder, name)
    what = "%s by %s" % (name, scheme)
    with open(os.path.join(path, "profile.json")) as f:
        d = json.load(f)
    check("%s is below 5 MB" % what, os.path.getsize(os.path.join(path, "report.html")) < 5e6)
    b.open(os.path.join(path, "report.html"), scheme)
    same("the seven questions", b.run("[...document.querySelectorAll('h2')].map(e => parseInt(e.textContent))"), list(range(1, 8)))
    if shots:
        b.shot(os.path.join(folder, "%s-%s.png" % (name, scheme)))
    n = tab_through(b, what)
    if name == "whole":
        heat_map(b, d)
        tables(b, d)
        theme(b, scheme)
        b.run("document.querySelectorAll('details').forEach(e => e.open = true)")
        opened = tab_through(b, what + ", all open")
        check("opened tables can be sorted", opened > n + 20, opened)
    b.run("document.querySelectorAll('details').forEach(e => e.open = true)")
    if shots:
        b.shot(os.path.join(folder, "%s-%s-open.png" % (name, scheme)))
    fits(b, what)
    same("%s: said on the console" % what, b.complaints(), [])
    return n


def reports(moxie, model, folder):
    """A recorded run with everything; the same for a card; a table without times or model; a large model of 94 layers and 512 experts."""
    def run(*args):
        r = subprocess.run([moxie, *args], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                           env={**os.environ, "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder})
        check("moxie " + " ".join(args), r.returncode == 0, r.stderr)

    run("profile", "run", model, "--raw", "-p", "It was a bright", "-n", "60", "--ram-experts", "40%", "--temp", "0.7", "--seed", "3",
        "--heat", "off", "-o", "whole")
    run("profile", "report", "whole", "--model", model, "--gpu-spec", "4080", "--assume-vram", "780M", "--ram", "64M", "--out", "card")
    with open(os.path.join(folder, "bare.csv"), "w") as f:
        f.write("layer,expert\n0,1\n0,3\n1,2\n1,0\n0,1\n0,2\n")
    with open(os.path.join(folder, "large.csv"), "w") as f:
        f.write("token,layer,rank,expert\n")
        state = 1
        for token in range(12):
            for layer in range(94):
                for rank in range(8):
                    state = (state * 1103515245 + 12345) % (1 << 31)
                    f.write("%d,%d,%d,%d\n" % (token, layer, rank, (state >> 16) % 64 * 8 + rank))
    for name in ("bare", "large"):
        run("profile", "import", name + ".csv", "--out", name + ".trace")
        run("profile", "report", name + ".trace", "--out", name)


def main():
    chromium, moxie, model, folder = sys.argv[1:5]
    shots = "--shots" in sys.argv
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    folder = os.path.abspath(folder)
    far = os.path.join(folder, "a" * 90)  # a path without a place to break a line, as a user's may be
    os.makedirs(far)
    os.symlink(os.path.abspath(model), os.path.join(far, "model.gguf"))
    reports(os.path.abspath(moxie), os.path.join(far, "model.gguf"), folder)
    began = time.time()
    b = Browser(chromium, folder)
    try:
        for name in ("whole", "card", "bare", "large"):
            for scheme in ("light", "dark"):
                n = look_at(b, folder, name, scheme, shots)
                print("%s by %s: %d controls" % (name, scheme, n))
    finally:
        b.close()
    print("%d checks in %.1f s of the browser" % (checks, time.time() - began))


if __name__ == "__main__":
    main()
