/** How flows are put together: groups, subflows, clipboard, links, and nodes put in order. */

import { describe, expect, test } from "vitest";
import type { FlowDoc, NodeType } from "../api/types";
import { align, connected, distribute } from "./arrange";
import { clip, CLIP, paste, read } from "./clip";
import { dirty, removeNodes, renameNode } from "./flow";
import { together } from "./health";
import { dropped, frameOf, makeGroup, ungroup } from "./groups";
import { partnersOf } from "./links";
import { choicesOf, paramSchema, wrongParam } from "./parameters";
import { portsOf } from "./ports";
import { waysOf } from "./ways";
import { makeSubflow } from "./makeSubflow";
import { reaches, removeSubflow, renamePort, templateOf, usesOf, withTemplate } from "./subflows";

const port = (name: string, type = "any") => ({ name, type, description: "" });
const type = (name: string, ins: string[], outs: string[]) =>
  ({
    type: name,
    inputs: ins.map((one) => port(one, "number")),
    outputs: outs.map((one) => port(one)),
    config_schema: {},
    outputs_from: null,
    inputs_from: null,
    follows: "",
    virtual: null,
  }) as unknown as NodeType;
const types = { "t/a": type("t/a", ["in"], ["out"]) };

const node = (id: string, x: number, y: number, more: object = {}) => ({ id, type: "t/a", ui: { x, y }, ...more });
const line = (...ids: string[]): FlowDoc => ({
  flowcore: 1,
  id: "f",
  nodes: ids.map((id, k) => node(id, k * 200, 100)),
  wires: ids.slice(1).map((id, k) => ({ from: `${ids[k]}.out`, to: `${id}.in` })),
});

describe("groups", () => {
  const [grouped, id] = makeGroup(line("a", "b", "c", "d"), new Set(["b", "c"]))!;
  const moved = (flow: FlowDoc, name: string, x: number, y: number): FlowDoc => ({
    ...flow,
    nodes: flow.nodes!.map((one) => (one.id === name ? { ...one, ui: { x, y } } : one)),
  });
  const groupOf = (flow: FlowDoc, name: string) => flow.nodes!.find((one) => one.id === name)!.group;

  test("a frame goes around its nodes", () => {
    expect(frameOf(grouped, grouped.groups![0]!, types)).toEqual({ x: 180, y: 60, width: 400, height: 110 });
  });
  test("a node that is dropped into the frame joins, one that is dragged out leaves", () => {
    const into = dropped(grouped, moved(grouped, "a", 300, 120), new Set(["a"]), types);
    expect(groupOf(into, "a")).toBe(id);
    const out = dropped(grouped, moved(grouped, "b", 200, 600), new Set(["b"]), types);
    expect(groupOf(out, "b")).toBeUndefined();
    expect(groupOf(out, "c")).toBe(id);
  });
  test("a group that moves as a whole stays one", () => {
    const far = moved(moved(grouped, "b", 900, 900), "c", 1100, 900);
    expect(groupOf(dropped(grouped, far, new Set(["b", "c"]), types), "b")).toBe(id);
  });
  test("it goes with its last node, and its nodes stay when it is taken apart", () => {
    expect(removeNodes(grouped, new Set(["b", "c"])).groups).toEqual([]);
    expect(ungroup(grouped, new Set([id])).nodes).toHaveLength(4);
  });
});

describe("subflows", () => {
  const flow: FlowDoc = {
    ...line("a", "b", "c", "d"),
    wires: [
      { from: "a.out", to: "b.in", delivery: "latest" },
      { from: "a.out", to: "c.in", delivery: "latest" },
      { from: "b.out", to: "c.in" },
      { from: "c.out", to: "d.in", window: 5 },
    ],
  };
  const [made, instance, name] = makeSubflow(flow, new Set(["b", "c"]), "My part")!;

  test("wires that cross the border become ports and keep how they deliver", () => {
    expect([instance, name]).toEqual(["my-part", "my-part"]);
    expect(made.subflows![name]).toMatchObject({
      inputs: { in: ["b.in", "c.in"] },
      outputs: { out: ["c.out"] },
      wires: [{ from: "b.out", to: "c.in" }],
    });
    expect(made.wires).toEqual([
      { from: "a.out", to: "my-part.in", delivery: "latest" },
      { from: "my-part.out", to: "d.in", window: 5 },
    ]);
    expect(portsOf({ id: "i", type: "subflow:my-part" }, types, made).inputs).toEqual([port("in", "number")]);
  });
  test("a template is edited as a flow, and comes back as it was", () => {
    const view = templateOf(made, name);
    expect(templateOf(made, name)).toBe(view);
    const back = withTemplate(made, name, view);
    expect({ ...back.subflows![name], ui: undefined }).toEqual({ ...made.subflows![name], ui: undefined });
    const renamed = withTemplate(made, name, renameNode(view, "b", "first"));
    expect(renamed.subflows![name]!.inputs).toEqual({ in: ["first.in", "c.in"] });
  });
  test("a port that goes takes the wires of instances with it; one that is renamed does not", () => {
    const without = withTemplate(made, name, removeNodes(templateOf(made, name), new Set(["@in:in"])));
    expect(without.wires!.map((wire) => wire.to)).toEqual(["d.in"]);
    const renamed = renamePort(made, name, "outputs", "out", "done");
    expect(renamed.wires!.at(-1)).toEqual({ from: "my-part.done", to: "d.in", window: 5 });
  });
  test("its instances are counted, and none may stand in itself", () => {
    expect(usesOf(made, name)).toEqual([{ inside: null, node: instance }]);
    const [outer, , second] = makeSubflow(made, new Set([instance]), "Outer")!;
    expect(usesOf(outer, name)).toEqual([{ inside: second, node: instance }]);
    expect([reaches(outer, second, name), reaches(outer, name, second)]).toEqual([true, false]);
    expect(removeSubflow(outer, second).subflows).not.toHaveProperty(second);
  });
  test("a template that differs makes its instances differ, its ports' places do not", () => {
    const view = templateOf(made, name);
    const changed = { ...view, nodes: view.nodes!.map((one) => (one.id === "b" ? { ...one, disabled: true } : one)) };
    expect([...dirty(withTemplate(made, name, changed), made).nodes]).toEqual([instance]);
    const moved = { ...view, nodes: view.nodes!.map((one) => ({ ...one, ui: { x: 1, y: 1 } })) };
    expect([...dirty(withTemplate(made, name, moved), made).nodes]).toEqual([]);
  });
});

describe("ways", () => {
  const inner: FlowDoc = {
    ...line("a", "b", "c"),
    nodes: [
      node("a", 0, 0),
      node("j", 0, 0, { type: "core/junction" }),
      { id: "i", type: "subflow:s" },
      node("c", 0, 0),
    ],
    wires: [
      { from: "a.out", to: "j.in" },
      { from: "j.out", to: "i.in" },
      { from: "j.out", to: "c.in" },
      { from: "i.out", to: "c.in" },
    ],
    subflows: {
      s: { inputs: { in: ["x.in", "y.in"] }, outputs: { out: ["y.out"] }, nodes: [node("x", 0, 0), node("y", 0, 0)] },
    },
  };
  test("a wire that is drawn stands for those that run through it", () => {
    const ways = waysOf(inner, []);
    expect(ways.get("a.out>j.in")).toEqual(["a.out>i:x.in", "a.out>i:y.in", "a.out>c.in"]);
    expect(ways.get("j.out>i.in")).toEqual(["a.out>i:x.in", "a.out>i:y.in"]);
    expect(ways.get("i.out>c.in")).toEqual(["i:y.out>c.in"]);
  });
  test("inside an instance they lead on outside; seen through none, nothing runs", () => {
    expect(waysOf(inner, [{ subflow: "s", instance: "i" }]).get("@in:in.out>x.in")).toEqual(["a.out>i:x.in"]);
    expect(waysOf(inner, [{ subflow: "s", instance: null }]).size).toBe(0);
  });
  test("what it carries is told once for each source", () => {
    const now = (rateHz: number, queued: number) => ({
      rateHz,
      queued,
      window: 10,
      drops: 1,
      ageS: 0,
      blocked: false,
      trouble: "",
    });
    const wires = { "f/a>x": now(5, 1), "f/a>y": now(5, 7), "f/b>x": now(2, 0) };
    expect(together(Object.keys(wires), wires)).toMatchObject({ rateHz: 7, queued: 7, drops: 3 });
    expect(together([], wires)).toBeUndefined();
  });
});

describe("parameters", () => {
  const params = {
    KIND: { type: "select", options: [1, { value: 2, label: "Two" }], default: 1 },
    LEVEL: { type: "number", min: 5, title: "Level, kPa" },
  };
  test("the form of an instance is made of them", () => {
    const schema = paramSchema({ params: params as any }, line());
    expect(schema.required).toEqual(["LEVEL"]);
    expect(schema.properties.KIND.oneOf.map((one: any) => one.title)).toEqual(["1", "Two"]);
    expect(schema.properties.LEVEL).toMatchObject({ type: "number", minimum: 5, title: "Level, kPa" });
  });
  test("what is wrong with them is said before it is saved", () => {
    expect(wrongParam("9", { type: "text" }, ["9"])).toContain("a name is");
    expect(wrongParam("A", { type: "number", min: 5, default: 1 }, ["A"])).toContain("too small");
    expect(wrongParam("A", { type: "select", options: ["x"], default: "y" }, ["A"])).toContain("none of the values");
    expect(choicesOf({ options: [{ value: 3 }] })).toEqual([{ value: 3, label: "3" }]);
  });
});

describe("clipboard and files", () => {
  const subflow = { nodes: [node("x", 0, 0, { config: { broker: { $use: "mqtt" } } })], wires: [] };
  const flow: FlowDoc = {
    ...line("a", "b"),
    nodes: [node("a", 0, 0, { group: "g" }), { id: "i", type: "subflow:s", group: "g", config: { scope: ["a"] } }],
    wires: [],
    groups: [{ id: "g", name: "G" }],
    subflows: { s: subflow },
    resources: { mqtt: { type: "iot/mqtt-broker" }, other: {} },
  };
  test("groups, subflows and resources go along; what is the same is shared, what differs gets a name", () => {
    const clipped = clip(flow, new Set(["a", "i"]));
    expect(Object.keys(clipped.resources!)).toEqual(["mqtt"]);
    const [same] = paste(flow, clipped, { x: 0, y: 0 });
    expect(Object.keys(same.subflows!)).toEqual(["s"]);
    expect(same.groups!.map((one) => one.id)).toEqual(["g", "g-2"]);
    expect(same.nodes!.at(-1)).toMatchObject({ id: "i-2", group: "g-2", config: { scope: ["a-2"] } });

    const other: FlowDoc = { ...line("a"), subflows: { s: { nodes: [] } }, resources: { mqtt: { note: "mine" } } };
    const [pasted] = paste(other, clipped, { x: 0, y: 0 });
    expect(pasted.nodes!.at(-1)!.type).toBe("subflow:s-2");
    expect(pasted.subflows!["s-2"]!.nodes![0]!.config).toEqual({ broker: { $use: "mqtt-2" } });
    expect(pasted.resources!.mqtt).toEqual({ note: "mine" });
  });
  test("what is read is named before anything changes", () => {
    const text = JSON.stringify({ ...flow, nodes: [...flow.nodes!, { id: "z", type: "no/such" }] });
    expect(read(text, types)).toMatchObject({ kind: "flows", missing: [["no/such", 1]] });
    expect(read(JSON.stringify({ [CLIP]: clip(flow, new Set(["a"])) }), types).kind).toBe("nodes");
    expect(read(JSON.stringify([{ id: "1", type: "tab" }]), types).kind).toBe("nodered");
    expect(read('{"label":"x","nodes":[{"id":"1","type":"inject","wires":[[]]}]}', types).kind).toBe("nodered");
    expect(() => read("{", types)).toThrow("This is not JSON");
    for (const bad of ["[]", "{}", '"x"', "null", '{"flowcore":1}', '{"nodes":[{"id":1}]}'])
      expect(() => read(bad, types), bad).toThrow("This is no flow");
  });
});

describe("links", () => {
  const sender = (id: string, links: string[]) => ({ id, type: "core/link-out", config: { links } });
  const one: FlowDoc = {
    flowcore: 1,
    id: "one",
    nodes: [sender("go", ["there", "two/far"]), { id: "there", type: "core/link-in" }],
  };
  const two: FlowDoc = {
    flowcore: 1,
    id: "two",
    name: "Two",
    nodes: [{ id: "far", type: "core/link-in", name: "Far" }],
  };
  test("partners here are ids, those in other flows say where", () => {
    expect(partnersOf(one.nodes![0]!, [one, two], one, null)).toEqual({
      here: ["there"],
      elsewhere: [{ flow: "two", node: "far", label: "Two: Far" }],
    });
    expect(partnersOf(two.nodes![0]!, [one, two], two, null).elsewhere[0]).toMatchObject({ flow: "one", node: "go" });
  });
});

describe("order", () => {
  const flow: FlowDoc = {
    ...line("a", "b", "c"),
    nodes: [node("a", 0, 0), node("b", 37, 90), node("c", 400, 300, { type: "core/junction" })],
  };
  const all = new Set(["a", "b", "c"]);
  const places = (changed: FlowDoc, axis: "x" | "y") => changed.nodes!.map((one) => one.ui![axis]);

  test("nodes come into line six ways, by their edges and middles", () => {
    expect(places(align(flow, all, "left", types), "x")).toEqual([0, 0, 0]);
    expect(places(align(flow, all, "right", types), "x")).toEqual([260, 260, 400]);
    expect(places(align(flow, all, "centre", types), "x")).toEqual([130, 130, 200]);
    expect(places(align(flow, all, "top", types), "y")).toEqual([0, 0, 0]);
    expect(places(align(flow, all, "bottom", types), "y")).toEqual([300, 300, 300]);
    expect(places(align(flow, all, "middle", types), "y")).toEqual([150, 150, 150]);
  });
  test("they get the same room between them", () => {
    expect(places(distribute(flow, all, "down", types), "y")).toEqual([0, 150, 300]);
    expect(places(distribute(flow, all, "across", types), "x")).toEqual([0, 200, 400]);
  });
  test("what hangs together is found over any number of wires", () => {
    expect(connected(line("a", "b", "c"), new Set(["a"]))).toEqual(all);
  });
});
