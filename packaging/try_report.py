"""A report in a real browser: `just try-report`. Takes Chromium (Debian: apt install chromium).

The quickstart's report is opened without a window, in light and dark, at the width of a desk and of a phone: it must not be wider than
the screen, its script must end without an error, the numbers that people read must be those of its data, and nothing may be fetched. With
a folder as the third argument, pictures of it are left there: the book's are made so.
"""

import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]
PROBE = """
<script>
addEventListener('error', event => document.documentElement.dataset.failed = event.message);
addEventListener('load', () => setTimeout(() => {
  const root = document.documentElement;
  root.dataset.wide = root.scrollWidth > root.clientWidth;
  root.dataset.dark = matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.fetched = performance.getEntriesByType('resource').length;
}, 300));
</script>
"""


def main():
    page, pictures = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    browser = next((it for it in ["chromium", "chromium-browser", "google-chrome"] if shutil.which(it)), None)
    if browser is None:
        sys.exit("a browser is missing: apt install chromium")
    for theme, setting in [("light", 1), ("dark", 0)]:
        for name, width, height in [("desk", 1280, 1400), ("phone", 500, 1400)]:
            look(browser, page, f"--blink-settings=preferredColorScheme={setting}", theme, width, height)
            if pictures:
                pictures.mkdir(parents=True, exist_ok=True)
                shot = pictures / f"report-{name}-{theme}.png"
                run(browser, f"--blink-settings=preferredColorScheme={setting}", width, height, [f"--screenshot={shot}"], page)
            print(f"{theme}, {width} pixels: as it should be")


def run(browser, theme, width, height, arguments, page):
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", theme, f"--window-size={width},{height}", "--virtual-time-budget=3000"]
        told = subprocess.run([*command, *arguments, page.resolve().as_uri()], capture_output=True, text=True, timeout=120, check=True)
        return told.stdout


def look(browser, page, theme_setting, theme, width, height):
    with tempfile.TemporaryDirectory() as folder:
        # The page forbids all scripts but its own: what looks at it needs that lifted.
        probed = Path(folder) / "probed.html"
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
        probed.write_text(text.replace("<head>", "<head>" + PROBE, 1), encoding="utf-8")
        dom = run(browser, theme_setting, width, height, ["--dump-dom"], probed)
    root = re.search(r"<html[^>]*>", dom).group(0)
    seen = dict(re.findall(r'data-(\w+)="([^"]*)"', root))
    assert "failed" not in seen, f"its script failed: {seen['failed']}"
    assert seen.get("wide") == "false", f"it is wider than {width} pixels"
    assert seen.get("dark") == ("true" if theme == "dark" else "false"), f"the browser is not {theme}"
    assert seen.get("fetched") == "0", f"it fetched {seen.get('fetched')} things"
    data = json.loads(html.unescape(re.search(r'<script type="application/json" id="data">(.*?)</script>', dom, re.S).group(1)))
    told = re.search(r'id="embedded"[^>]*data-value="(\d+)"', dom) or re.search(r'data-value="(\d+)"[^>]*id="embedded"', dom)
    assert int(told.group(1)) == data["reuse"]["embedded"], "what people read is not what the data say"


main()
