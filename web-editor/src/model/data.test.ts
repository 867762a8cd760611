/** What messages hold, what a try needs, and what a flow's nodes share by name. */

import { describe, expect, test } from "vitest";
import type { DebugMessage, FlowDoc, NodeType } from "../api/types";
import { envUsed, putShared, removeShared, secretsUsed, sharedOf } from "./shared";
import { outsideOf, placesOf, readSample, tried, withoutPorts } from "./trial";
import { bytesInWords, isDrawn, linePath, pictureOf, tensorInWords, tensorOf, withoutPictures } from "./values";

const PNG = { $bytes: "iVBORw0KGgoAAAA=" };
const frame = { $tensor: { dtype: "uint8", shape: [4, 6, 3], min: 0, max: 255, mean: 42.456, picture: PNG } };

describe("values that JSON has no form for", () => {
  test("a tensor in words", () => {
    expect(tensorInWords(tensorOf(frame)!)).toBe("uint8 [4, 6, 3], 0 to 255, mean 42.46");
    const far = { dtype: "float32", shape: [2], device: "cuda:0", min: 0.5, max: 1, mean: 0.75, is_sample: true };
    expect(tensorInWords(far)).toBe("float32 [2], on cuda:0, 0.5000 to 1, mean about 0.7500");
    expect(tensorInWords({ dtype: "int8", shape: [], expired: true })).toBe("int8 [], no longer there");
  });
  test("what only looks like one is none", () => {
    for (const value of [null, 3, "x", [], { $tensor: 1 }, { $tensor: { shape: "4" } }])
      expect(tensorOf(value)).toBeNull();
  });
  test("pictures come from tensors, images and bytes, and from nothing else", () => {
    expect(pictureOf(frame)).toBe(`data:image/png;base64,${PNG.$bytes}`);
    expect(pictureOf({ $image: { format: "webp", size_bytes: 9, picture: { $bytes: "UklG" } } })).toMatch(
      /^data:image\/webp/,
    );
    expect(pictureOf({ $bytes: "/9j/4AAQ" })).toMatch(/^data:image\/jpeg/);
    expect(pictureOf({ $bytes: "AAAA" })).toBe("");
    expect(pictureOf({ $image: { format: "svg+xml", size_bytes: 9, picture: { $bytes: "PHN2Zz4=" } } })).toBe("");
    expect(pictureOf({ $image: { format: "png", size_bytes: 9, picture: { $bytes: '"><script>' } } })).toBe("");
  });
  test("a message that is kept without its pictures keeps all else", () => {
    const message = { value: { a: [frame], picture: "a text" }, isDrawn: true } as unknown as DebugMessage;
    expect(isDrawn(message.value)).toBe(true);
    const bare = withoutPictures(message);
    expect(isDrawn(bare.value)).toBe(false);
    expect(bare.value).toEqual({
      a: [{ $tensor: { dtype: "uint8", shape: [4, 6, 3], min: 0, max: 255, mean: 42.456 } }],
      picture: "a text",
    });
  });
  test("a line has a gap where there is no number", () => {
    expect(linePath([0, 10, null, 5, 0], 100, 10)).toBe("M0.0,10.0L25.0,0.0M75.0,5.0L100.0,10.0");
    expect(linePath([3, 3], 10, 10)).toBe("M0.0,10.0L10.0,10.0");
    expect(linePath([null, 3], 10, 10)).toBe("");
  });
  test("sizes", () => {
    expect([999, 1500, 2_500_000].map(bytesInWords)).toEqual(["999 bytes", "1.5 kB", "2.5 MB"]);
  });
});

describe("a try on a sample", () => {
  const port = (name: string) => ({ name, type: "any", description: "" });
  const kind = (ins: string[], outs: string[], more: object = {}) =>
    ({ inputs: ins.map(port), outputs: outs.map(port), config_schema: {}, ...more }) as unknown as NodeType;
  const types: Record<string, NodeType> = {
    "t/in": kind([], ["out"], { outside: true }),
    "t/a": kind(["in"], ["out"]),
    "t/ask": kind(["in"], ["out"], { outside: true }),
    "t/two": kind(["left", "right"], []),
    "core/link-in": kind([], ["out"], { virtual: "link-in" }),
  };
  const flow: FlowDoc = {
    flowcore: 1,
    id: "f",
    nodes: [
      { id: "in", type: "t/in" },
      { id: "a", type: "t/a", name: "first" },
      { id: "ask", type: "t/ask" },
      { id: "two", type: "t/two" },
      { id: "off", type: "t/a", disabled: true },
      { id: "note", type: "core/comment" },
      { id: "link", type: "core/link-in" },
      { id: "sub", type: "subflow:s" },
    ],
    wires: [
      { from: "in.out", to: "a.in" },
      { from: "a.out", to: "two.left" },
      { from: "a.out", to: "two.right", disabled: true },
    ],
    subflows: {
      s: {
        nodes: [
          { id: "inner", type: "t/ask" },
          { id: "more", type: "subflow:s" },
        ],
      },
    } as FlowDoc["subflows"],
  };

  test("comments and disabled nodes do not run; a choice is kept to", () => {
    expect(tried(flow, new Set()).map((node) => node.id)).toEqual(["in", "a", "ask", "two", "link", "sub"]);
    expect(tried(flow, new Set(["a", "off"])).map((node) => node.id)).toEqual(["a"]);
  });
  test("a message goes in first where nobody who runs sends to", () => {
    const places = placesOf(flow, new Set(), types);
    expect(places.map((one) => `${one.place}${one.isEntry ? "!" : ""}`)).toEqual([
      "in.out!",
      "ask.in!",
      "two.right!",
      "a.in",
      "two.left",
    ]);
    expect(placesOf(flow, new Set(["a"]), types)).toEqual([{ place: "a.in", label: "into first", isEntry: true }]);
    expect(places.find((one) => one.place === "two.right")!.label).toBe("into two, right");
  });
  test("what reaches outside is replaced, in subflows too, however deep they nest", () => {
    const found = outsideOf(flow, new Set(), types);
    expect(found.slice(0, 3)).toEqual([
      { node: "in", answers: false },
      { node: "ask", answers: true },
      { node: "sub:inner", answers: true },
    ]);
    expect(found.length).toBeLessThan(20);
  });
  test("a template goes without the marks of its ports", () => {
    const inner: FlowDoc = {
      flowcore: 1,
      id: "s",
      nodes: [{ id: "a", type: "t/a" }],
      wires: [{ from: "a.out", to: "a.in" }],
    };
    expect(withoutPorts(inner)).toEqual(inner);
  });
  test("a sample is JSON where it looks like that, else text", () => {
    expect(["21", '{"t": 21}', "hot", " ", "true"].map((text) => readSample(text).value)).toEqual([
      21,
      { t: 21 },
      "hot",
      null,
      true,
    ]);
    expect(readSample('{"t": ').wrong).toMatch(/^not JSON: /);
  });
});

describe("what nodes share by name", () => {
  const flow: FlowDoc = {
    flowcore: 1,
    id: "f",
    nodes: [
      {
        id: "a",
        type: "t/a",
        config: { broker: { $use: "plant" }, key: { $secret: "token" }, url: "http://${HOST}/$${NOT}" },
      },
      { id: "b", type: "t/a", config: { list: [{ broker: { $use: "plant" } }, { $env: "HOST" }] } },
    ],
    resources: { plant: { type: "mqtt", config: { password: { $secret: "mqtt" } } }, old: { config: {} } },
    subflows: {
      s: { nodes: [{ id: "in", type: "t/a", config: { at: "${ZONE}" } }] },
    } as unknown as FlowDoc["subflows"],
  };

  test("shared settings with who uses them, unused ones too", () => {
    expect(sharedOf(flow).map((one) => [one.name, one.users])).toEqual([
      ["old", []],
      ["plant", ["a", "b"]],
    ]);
  });
  test("changing one keeps its type and note; removing one leaves the others", () => {
    const put = putShared(flow, "plant", { host: "h" });
    expect(put.resources!.plant).toEqual({ type: "mqtt", config: { host: "h" } });
    expect(putShared(flow, "new", {}, "sql").resources!.new).toEqual({ type: "sql", config: {} });
    expect(Object.keys(removeShared(flow, "old").resources!)).toEqual(["plant"]);
    expect(flow.resources!.plant!.config).toEqual({ password: { $secret: "mqtt" } });
  });
  test("environment by `$env` and in texts, not where a dollar is doubled", () => {
    expect([...envUsed(flow)]).toEqual([
      ["HOST", ["b", "a"]],
      ["ZONE", ["s:in"]],
    ]);
  });
  test("secrets of nodes and of shared settings, over all flows", () => {
    expect([...secretsUsed([flow, { ...flow, id: "g", resources: {} }])]).toEqual([
      ["token", ["f.a", "g.a"]],
      ["mqtt", ["f.plant"]],
    ]);
  });
});
