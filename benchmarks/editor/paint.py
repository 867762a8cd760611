"""The first view: how long until a flow of 50 nodes is painted, and how much JavaScript that takes."""

import statistics

from benchmarks.editor.browser import address, browser, page_of, processor_s, told
from benchmarks.editor.flows import chains
from flowcore.bench.runtime import Runtime
from flowcore.gateway.sessions import Sessions

NODES = 50
LONGEST_S = 1.0
MOST_KB = 300.0

# When as many nodes stand on the canvas as there are, and the frame that shows them is done.
_WATCH = f"""
window.painted = new Promise((done) => new MutationObserver((_, watch) => {{
  if (document.querySelectorAll(".react-flow__node .node").length < {NODES}) return;
  watch.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
}}).observe(document, {{childList: true, subtree: true}}));
"""
_SCRIPTS = """performance.getEntriesByType("resource").filter((one) => new URL(one.name).pathname.endsWith(".js"))
  .map((one) => [one.name.split("/").at(-1), one.encodedBodySize])"""


async def first_view(runtime: Runtime, is_quick: bool) -> list[str]:
    """First paint, median of five cold starts; JavaScript as it came over the wire, icons too, which come after it."""
    url = await address(runtime)
    await runtime.deploy({"flowcore": 1, "id": "fifty", "nodes": []})
    await runtime.client.call("stop", flow="fifty")
    await runtime.client.call("deploy", documents=[{"document": chains("fifty", NODES)}], timeout=60)
    seconds, spent, scripts = [], [], []
    async with browser() as one:
        for _ in range(2 if is_quick else 5):
            async with page_of(one, _WATCH) as page:
                await page.goto(f"{url}/login")  # the browser has started and knows the host; nothing else
                began_s = processor_s()
                token = Sessions(runtime.data).token("start", 60)
                await page.goto(f"{url}/?token={token}")
                seconds.append(await page.evaluate("window.painted") / 1000)
                spent.append(processor_s() - began_s)
                await page.wait_for_load_state("networkidle")
                scripts = await page.evaluate(_SCRIPTS)
    median, size = statistics.median(seconds), sum(size for _, size in scripts) / 1000
    spread = f"{min(seconds):.2f} to {max(seconds):.2f} s, {statistics.median(spent):.1f} s of processor time; "
    spread += f"{len(seconds)} starts with nothing in the cache"
    names = ", ".join(f"{name.split('-')[0]} {size / 1000:.0f}" for name, size in scripts)
    return [
        told(f"first paint of a flow of {NODES} nodes", median, "s", "< 1 s", median < LONGEST_S, spread),
        told("JavaScript of the first view, as it is sent", size, "kB", "< 300 kB", size < MOST_KB, names),
    ]
