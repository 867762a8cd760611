/** What a wire and a node look like: from their statistics to words and levels, without anything that draws. */

import type { InputStats, NodeState, NodeStats, OutputStats } from "../api/types";

export interface WireNow {
  rateHz: number;
  queued: number;
  window: number;
  drops: number;
  ageS: number;
  blocked: boolean;
  trouble: string;
}

export type Health = "idle" | "flowing" | "filling" | "full" | "losing";

export function wireHealth(now: WireNow | undefined): Health {
  if (!now) return "idle";
  if (now.trouble || now.blocked) return "full";
  if (now.drops > 0) return "losing";
  if (now.queued > now.window / 2) return "filling";
  return now.rateHz > 0 ? "flowing" : "idle";
}

export function rate(hz: number): string {
  if (hz === 0) return "0/s";
  if (hz < 10) return `${hz.toFixed(1)}/s`;
  return hz < 10_000 ? `${Math.round(hz)}/s` : `${Math.round(hz / 1000)}k/s`;
}

export function duration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

export const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

/** One wire from what its two ends say. `before` is the consumer's count some seconds ago. */
export function wireNow(
  out: OutputStats | undefined,
  into: InputStats | undefined,
  before: { taken: number; atMs: number } | undefined,
  atMs: number,
): WireNow {
  const passedS = before ? (atMs - before.atMs) / 1000 : 0;
  const taken = into && before && passedS > 0.2 ? Math.max(0, into.taken - before.taken) / passedS : 0;
  return {
    rateHz: taken,
    queued: out?.unacked ?? into?.queued ?? 0,
    window: out?.window ?? 1,
    drops: (out?.drops ?? 0) + (into?.drops ?? 0),
    ageS: Math.max(out?.age_s ?? 0, into?.age_s ?? 0),
    blocked: out?.blocked ?? false,
    trouble: out?.trouble ?? "",
  };
}

/**
 * One wire from those that run where it is drawn, `<flow>/<from>><to>`: what each source sends is the most that one of its
 * wires carries, since it sends the same to all; sources add up.
 */
export function together(keys: string[], wires: Record<string, WireNow>): WireNow | undefined {
  if (keys.length === 1) return wires[keys[0]!];
  const rates = new Map<string, number>();
  let sum: WireNow | undefined;
  for (const key of keys) {
    const one = wires[key];
    if (!one) continue;
    const source = key.split(">")[0]!;
    rates.set(source, Math.max(rates.get(source) ?? 0, one.rateHz));
    sum = sum
      ? {
          ...(one.queued / one.window > sum.queued / sum.window ? one : sum),
          drops: sum.drops + one.drops,
          ageS: Math.max(sum.ageS, one.ageS),
          blocked: sum.blocked || one.blocked,
          trouble: sum.trouble || one.trouble,
        }
      : one;
  }
  return sum && { ...sum, rateHz: [...rates.values()].reduce((a, b) => a + b, 0) };
}

/** The state of an instance: the worst of the nodes inside, whose keys begin with its own and a colon. */
export function instanceMark(instance: string, states: Record<string, Record<string, NodeState>>): Mark {
  const inside = Object.entries(states).filter(([key]) => key.startsWith(`${instance}:`));
  return nodeMark(inside.flatMap(([, processes]) => Object.values(processes)));
}

export type Mark = "running" | "restarting" | "failed" | "paused" | "stopped" | "starting" | "none";

/** The state of a node from those of its processes: the worst counts. */
export function nodeMark(states: NodeState[]): Mark {
  const there = new Set(states.map((one) => one.state));
  if (there.has("failed")) return "failed";
  if (there.has("restarting") || there.has("replacing")) return "restarting";
  if (there.has("starting")) return "starting";
  if (there.has("paused") || there.has("bypassed")) return "paused";
  if (there.has("running")) return "running";
  return there.size ? "stopped" : "none";
}

export function nodeNumbers(stats: NodeStats[]): { label: string; value: string }[] {
  if (!stats.length) return [];
  const sum = (of: (one: NodeStats) => number) => stats.reduce((total, one) => total + of(one), 0);
  const ms = (of: (one: NodeStats) => number | null) => {
    const worst = Math.max(...stats.map((one) => of(one) ?? -1));
    return worst < 0 ? "no message lately" : `${worst.toFixed(worst < 10 ? 2 : 0)} ms`;
  };
  return [
    { label: "Messages", value: `${sum((one) => one.handled || one.sent).toLocaleString("en")}` },
    { label: "Rate", value: rate(sum((one) => one.rate_hz)) },
    { label: "Waiting", value: `${sum((one) => one.queue)}` },
    { label: "Sent to done, median", value: ms((one) => one.p50_ms) },
    { label: "Sent to done, 99 %", value: ms((one) => one.p99_ms) },
    { label: "Errors", value: `${sum((one) => one.errors)}` },
    { label: "Processor", value: `${(sum((one) => one.cpu) * 100).toFixed(1)} %` },
    { label: "Memory", value: megabytes(sum((one) => one.pss_bytes)) },
  ];
}
