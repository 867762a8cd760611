/** What travels between editor and gateway; the flow document as `flow.schema.json` has it, as far as the editor reads it. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Schema = { [key: string]: any };

export interface NodeDef {
  id: string;
  type: string;
  name?: string;
  config?: Record<string, Json>;
  settings?: Record<string, Json>;
  disabled?: boolean;
  group?: string | null;
  ui?: { x?: number; y?: number; [key: string]: Json | undefined };
  note?: string;
  [key: string]: unknown;
}

export interface WireDef {
  from: string;
  to: string;
  delivery?: "reliable" | "latest" | "durable";
  window?: number;
  keep?: number;
  disabled?: boolean;
  [key: string]: Json | undefined;
}

export interface GroupDef {
  id: string;
  name?: string;
  disabled?: boolean;
  ui?: Record<string, Json>;
  note?: string;
}

export interface SubflowDef {
  name?: string;
  inputs?: Record<string, string[]>;
  outputs?: Record<string, string[]>;
  params?: Record<string, Json>;
  nodes?: NodeDef[];
  wires?: WireDef[];
  [key: string]: any;
}

export interface FlowDoc {
  flowcore: 1;
  id: string;
  name?: string;
  description?: string;
  env?: Record<string, Json>;
  nodes?: NodeDef[];
  wires?: WireDef[];
  groups?: GroupDef[];
  subflows?: Record<string, SubflowDef>;
  resources?: Record<string, { type?: string | null; config?: Record<string, Json>; note?: string }>;
  ui?: Record<string, Json>;
  [key: string]: any;
}

export interface Port {
  name: string;
  type: string;
  description: string;
}

export interface NodeType {
  type: string;
  title: string;
  category: string;
  icon: string;
  doc: string;
  inputs: Port[];
  outputs: Port[];
  config_schema: Schema;
  missing: string | null;
  is_source: boolean;
  virtual: string | null;
  outputs_from: string | null;
  inputs_from: string | null;
  /** The config field that deploying fills in with the nodes behind each output; empty: it follows none. */
  follows: string;
  live_config: boolean;
  /** It reaches beyond the flow: files, machines, programs. */
  outside: boolean;
  distribution: string;
}

export interface Deployed {
  flow: string;
  revision: number;
  kept: string[];
  reconfigured: string[];
  rewired: string[];
  restarted: string[];
  started: string[];
  stopped: string[];
  moved: string[];
  wires_added: number;
  wires_closed: number;
  failed: Record<string, string>;
  problems: string[];
  notes: string[];
  took_s: number;
  removed: boolean;
}

export interface FlowSummary {
  flow: string;
  name: string;
  revision: number;
  wanted: string;
  nodes: number;
}

export interface Revision {
  flow: string;
  revision: number;
  created_ns: number;
  source: string;
  deleted: boolean;
  document: FlowDoc | null;
}

export interface InputStats {
  wire: string;
  queued: number;
  taken: number;
  drops: number;
  age_s: number;
}

export interface OutputStats {
  wire: string;
  delivery: string;
  window: number;
  unacked: number;
  drops: number;
  age_s: number;
  blocked: boolean;
  trouble: string;
}

export interface NodeStats {
  node: string;
  process: string;
  handled: number;
  sent: number;
  rate_hz: number;
  errors: number;
  queue: number;
  p50_ms: number | null;
  p99_ms: number | null;
  cpu: number;
  rss_bytes: number;
  pss_bytes: number;
  inputs: InputStats[];
  outputs: OutputStats[];
  ports: Record<string, number>;
}

export interface NodeState {
  node: string;
  process: string;
  state: string;
  pid: number | null;
  restarts: number;
  reason: string;
}

export interface Badge {
  text: string;
  kind: string;
}

export interface DebugMessage {
  flow: string;
  node: string;
  ts: number;
  topic: string;
  id: string;
  value: Json;
  is_cut: boolean;
  /** Which one it is in this browser. */
  number?: number;
  /** There is a picture in it. */
  isDrawn?: boolean;
}

export interface ErrorMessage {
  flow: string;
  node: string;
  ts: number;
  error: string;
  text: string;
  traceback: string;
  message?: { id: string; port: string; topic: string; payload: Json; meta: Json };
}

export interface LogLine {
  flow: string;
  node: string;
  ts: number;
  level: string;
  event: string;
  detail?: string;
}

export interface Person {
  number: number;
  name: string;
  flow: string;
  node: string;
}

export type LiveEvent =
  { kind: "you"; number: number } | ({ kind: "applied" } & Deployed) | { kind: "types"; types: string[] };

export interface LiveFrame {
  stats?: Record<string, NodeStats>;
  states?: Record<string, NodeState>;
  badges?: Record<string, Badge>;
  debug?: DebugMessage[];
  errors?: ErrorMessage[];
  logs?: LogLine[];
  events?: LiveEvent[];
  people?: Person[];
  left_out?: Record<string, number>;
}

export interface TryAsk {
  document: FlowDoc;
  nodes: string[];
  put: string;
  payload: Json;
  topic: string;
  seconds: number;
  answers: Record<string, Json>;
}

export interface TryAnswer {
  outcome: "done" | "broken";
  lines: string[];
  outputs: {
    node: string;
    kind: string;
    port: string;
    payload: Json;
    is_cut: boolean;
    topic: string;
    at_ms: number;
    ms: number;
  }[];
  errors: { node: string; error: string; text: string; traceback: string; at_ms: number }[];
  notes: string[];
  took_ms: number;
  start_ms: number;
  left_out?: number;
}

export interface Example {
  name: string;
  file: string;
  nodes: string[];
  document: FlowDoc;
}
