/** The last minutes of every process, as its statistics came: for charts. Outside the stores, so that it draws nothing. */

import type { NodeStats } from "../api/types";

export interface Past {
  at_s: number[];
  rate: number[];
  p50: (number | null)[];
  p99: (number | null)[];
}

const KEPT_S = 300;
const MOST = 400;
const past = new Map<string, Past>();
const emptyPast = (): Past => ({ at_s: [], rate: [], p50: [], p99: [] });

export function remember(stats: Record<string, NodeStats>, now_s = Date.now() / 1000) {
  for (const [key, one] of Object.entries(stats)) {
    const kept = past.get(key) ?? emptyPast();
    past.set(key, kept);
    kept.at_s.push(now_s);
    kept.rate.push(one.rate_hz);
    kept.p50.push(one.p50_ms);
    kept.p99.push(one.p99_ms);
    const old = kept.at_s.findIndex((at) => at > now_s - KEPT_S);
    const gone = Math.max(old, kept.at_s.length - MOST);
    if (gone > 0) for (const column of Object.values(kept)) column.splice(0, gone);
  }
}

/** Of one process, `flow/process`: copies, oldest first. */
export function pastOf(key: string): Past {
  const kept = past.get(key) ?? emptyPast();
  return { at_s: [...kept.at_s], rate: [...kept.rate], p50: [...kept.p50], p99: [...kept.p99] };
}
