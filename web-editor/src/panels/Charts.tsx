/** Rate and time a message of a process over the last minutes. uPlot is loaded with the first of them. */

import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useEditor } from "../state/editor";
import { pastOf } from "../state/past";

const EACH_MS = 1000;
const HEIGHT = 90;
const SHOWN_S = 300;

const clock = (at_s: number) =>
  new Date(at_s * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

function options(title: string, width: number, series: [string, string][]): uPlot.Options {
  const style = getComputedStyle(document.body);
  const colour = (name: string) => style.getPropertyValue(name) || style.color;
  const axis = {
    stroke: style.color,
    font: "10px system-ui",
    grid: { stroke: "#8884", width: 1 },
    ticks: { show: false },
  };
  return {
    title,
    width,
    height: HEIGHT,
    pxAlign: 0,
    cursor: { show: false },
    legend: { show: false },
    scales: {
      x: { range: () => [Date.now() / 1000 - SHOWN_S, Date.now() / 1000] },
      y: { range: (_u, _low, high) => [0, high * 1.1 || 1] },
    },
    axes: [
      { ...axis, size: 18, space: 70, values: (_u, at) => at.map(clock) },
      { ...axis, size: 42, space: 24 },
    ],
    series: [
      {},
      ...series.map(([label, name]) => ({
        label,
        stroke: resolved(colour(name)),
        width: 1.5,
        points: { show: false },
      })),
    ],
  };
}

/** A colour that a canvas can draw with: `light-dark(..)` is the style sheet's own. */
function resolved(colour: string): string {
  const probe = document.createElement("span");
  probe.style.color = colour;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

export default function Charts({ process }: { process: string }) {
  const theme = useEditor((state) => state.theme);
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const box = place.current!;
    const width = Math.max(200, box.clientWidth - 4);
    const [rates, times] = [document.createElement("div"), document.createElement("div")];
    box.append(rates, times);
    const plots = [
      new uPlot(options("Messages a second", width, [["rate", "--main"]]), [[], []], rates),
      new uPlot(
        options("Milliseconds from sent to done: median, 99 %", width, [
          ["p50", "--good"],
          ["p99", "--bad"],
        ]),
        [[], [], []],
        times,
      ),
    ];
    const draw = () => {
      const past = pastOf(process);
      plots[0]!.setData([past.at_s, past.rate]);
      plots[1]!.setData([past.at_s, past.p50, past.p99]);
    };
    draw();
    const timer = setInterval(draw, EACH_MS);
    return () => {
      clearInterval(timer);
      plots.forEach((plot) => plot.destroy());
      box.replaceChildren();
    };
  }, [process, theme]);
  return <div className="charts" ref={place} role="img" aria-label="Rate and time a message over the last minutes" />;
}
