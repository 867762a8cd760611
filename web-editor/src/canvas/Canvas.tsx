/** The canvas: draws the flow that is open, and turns what is done with the mouse into changes of its document. */

import {
  Background,
  BackgroundVariant,
  Controls,
  MiniMap,
  ReactFlow,
  SelectionMode,
  useNodesState,
  useReactFlow,
  type Connection,
  type Edge,
  type Node,
  type OnConnectEnd,
} from "@xyflow/react";
import { useCallback, useEffect, useMemo, useRef, useState, type DragEvent, type MouseEvent } from "react";
import type { FlowDoc, NodeType } from "../api/types";
import {
  addNode,
  addWire,
  dirty,
  GRID,
  moveNodes,
  newNode,
  nodesOf,
  placeOf,
  removeNodes,
  removeWires,
  splice,
  wireKey,
  wiresOf,
  type Point,
} from "../model/flow";
import { HIDDEN_PORTS, portAt, portsOf, refusal } from "../model/ports";
import { activeTab, edit, openForm, select, toast, useEditor, type Tab } from "../state/editor";
import { NodeView, type NodeData } from "./NodeView";
import { QuickAdd } from "./QuickAdd";
import { NodeMenu } from "./NodeMenu";
import { WireView, type WireData } from "./WireView";

const nodeTypes = { node: NodeView };
const edgeTypes = { wire: WireView };
export const DRAGGED = "application/x-flowcore-type";

type CanvasNode = Node<NodeData>;

function drawn(tab: Tab, types: Record<string, NodeType>): CanvasNode[] {
  const changed = dirty(tab.doc, tab.deployed).nodes;
  const used = new Set(wiresOf(tab.doc).map((wire) => wire.from));
  return nodesOf(tab.doc).map((def) => {
    const type = types[def.type];
    const isSubflow = def.type.startsWith("subflow:");
    const subflow = isSubflow ? tab.doc.subflows?.[def.type.slice(8)] : undefined;
    const ports = portsOf(def, types, tab.doc);
    const hidden = HIDDEN_PORTS.filter(
      (port) => used.has(`${def.id}.${port.name}`) && !ports.outputs.some((one) => one.name === port.name),
    );
    return {
      id: def.id,
      type: "node",
      position: placeOf(def),
      data: {
        def,
        flow: tab.id,
        ports: { inputs: ports.inputs, outputs: [...ports.outputs, ...hidden] },
        title: isSubflow ? (subflow?.name ?? def.type.slice(8)) : (type?.title ?? def.type),
        category: isSubflow ? "subflow" : (type?.category ?? "other"),
        icon: type?.icon ?? "",
        tip: type ? `${def.type}: ${type.doc.split("\n")[0]}` : def.type,
        hasButton: !!type?.is_source && ports.inputs.length > 0 && tab.base > 0,
        missing: type?.missing ?? null,
        known: isSubflow ? !!subflow : !!type,
        changed: changed.has(def.id),
        problems: tab.problems[def.id],
      },
    };
  });
}

function wires(flow: FlowDoc, tab: Tab, types: Record<string, NodeType>, chosen: string | null): Edge<WireData>[] {
  const outputs = new Map(
    nodesOf(flow).flatMap((node) =>
      [...portsOf(node, types, flow).outputs, ...HIDDEN_PORTS].map((port) => [`${node.id}.${port.name}`, port.type]),
    ),
  );
  return wiresOf(flow).map((def) => ({
    id: wireKey(def),
    type: "wire",
    source: def.from.split(".")[0]!,
    sourceHandle: def.from.split(".")[1]!,
    target: def.to.split(".")[0]!,
    targetHandle: def.to.split(".")[1]!,
    selected: chosen === wireKey(def),
    data: { flow: tab.id, def, type: outputs.get(def.from) ?? "any" },
  }));
}

export function Canvas() {
  const tab = useEditor(activeTab);
  const types = useEditor((state) => state.types);
  const selected = useEditor((state) => state.selected);
  const toReveal = useEditor((state) => state.reveal);
  const { screenToFlowPosition, setCenter, getZoom, fitView } = useReactFlow();
  const [nodes, setNodes, onNodesChange] = useNodesState<CanvasNode>([]);
  const [adding, setAdding] = useState<{ at: Point; screen: Point; from?: Connection } | null>(null);
  const [menu, setMenu] = useState<{ node: string; at: Point } | null>(null);
  const over = useRef<string | null>(null);

  const wanted = useMemo(() => (tab ? drawn(tab, types) : []), [tab, types]);
  useEffect(() => {
    setNodes((old) => {
      const before = new Map(old.map((node) => [node.id, node]));
      return wanted.map((node) => {
        const was = before.get(node.id);
        return { ...(was?.measured ? { measured: was.measured } : {}), ...node, selected: selected.nodes.has(node.id) };
      });
    });
  }, [wanted, selected.nodes, setNodes]);
  const edges = useMemo(() => (tab ? wires(tab.doc, tab, types, selected.wire) : []), [tab, types, selected.wire]);

  const flowId = tab?.id;
  useEffect(() => {
    requestAnimationFrame(() => void fitView({ maxZoom: 1, padding: 0.15 }));
  }, [flowId, fitView]);
  useEffect(() => {
    const found = toReveal && tab && nodesOf(tab.doc).find((node) => node.id === toReveal.node);
    if (found)
      void setCenter(placeOf(found).x + 80, placeOf(found).y + 20, { zoom: Math.max(getZoom(), 0.8), duration: 200 });
  }, [toReveal]);

  const misfit = useCallback((from: string, to: string) => {
    const { types, tabs, active } = useEditor.getState();
    const doc = tabs[active]!.doc;
    return refusal(portAt(from, "outputs", types, doc), portAt(to, "inputs", types, doc));
  }, []);
  const valid = useCallback(
    (wire: Connection | Edge) =>
      misfit(`${wire.source}.${wire.sourceHandle}`, `${wire.target}.${wire.targetHandle}`) === null,
    [misfit],
  );

  const connect = useCallback((made: Connection) => {
    edit((doc) =>
      addWire(doc, {
        from: `${made.source}.${made.sourceHandle}`,
        to: `${made.target}.${made.targetHandle}`,
        ...(made.source === made.target ? { feedback: true } : {}),
      }),
    );
  }, []);

  const connectEnd: OnConnectEnd = useCallback(
    (event, state) => {
      if (state.isValid === false && state.fromHandle && state.toHandle) {
        const isOut = state.fromHandle.type === "source";
        const [out, into] = isOut ? [state.fromHandle, state.toHandle] : [state.toHandle, state.fromHandle];
        const why =
          out.type === into.type
            ? "a wire goes from an output to an input"
            : misfit(`${out.nodeId}.${out.id}`, `${into.nodeId}.${into.id}`);
        if (why) toast("error", "This wire does not fit", [why]);
      } else if (!state.toHandle && state.fromHandle?.type === "source" && "clientX" in event && event.ctrlKey) {
        const screen = { x: event.clientX, y: event.clientY };
        const from = {
          source: state.fromHandle.nodeId,
          sourceHandle: state.fromHandle.id ?? "",
          target: "",
          targetHandle: "",
        };
        setAdding({ at: screenToFlowPosition(screen), screen, from });
      }
    },
    [screenToFlowPosition, misfit],
  );

  const put = useCallback(
    (type: string, at: Point, from?: Connection) => {
      if (!tab) return;
      const made = newNode(tab.doc, type, at);
      const wire = wireUnder(at);
      edit((doc) => {
        const next = addNode(doc, made);
        if (from) {
          const input = portsOf(made, types, next).inputs.find(
            (port) => refusal(portAt(`${from.source}.${from.sourceHandle}`, "outputs", types, next), port) === null,
          );
          return input
            ? addWire(next, { from: `${from.source}.${from.sourceHandle}`, to: `${made.id}.${input.name}` })
            : next;
        }
        return (wire ? splice(next, made.id, wire, types) : null) ?? next;
      });
      select([made.id]);
    },
    [tab, types],
  );

  const drop = (event: DragEvent) => {
    const type = event.dataTransfer.getData(DRAGGED);
    if (!type) return;
    event.preventDefault();
    const at = screenToFlowPosition({ x: event.clientX, y: event.clientY });
    put(type, { x: at.x - 60, y: at.y - 17 });
  };

  const click = (event: MouseEvent) => {
    setMenu(null);
    if (event.ctrlKey || event.metaKey) add(event);
    else select([]);
  };

  const add = (event: MouseEvent) => {
    const screen = { x: event.clientX, y: event.clientY };
    setAdding({ at: screenToFlowPosition(screen), screen });
  };

  if (!tab) return <div className="canvas is-empty">No flow yet: add one with + above.</div>;
  return (
    <div
      className="canvas"
      onDragOver={(event) => event.preventDefault()}
      onDrop={drop}
      onDoubleClick={(event) => (event.target as Element).classList.contains("react-flow__pane") && add(event)}
      data-testid="canvas"
    >
      <ReactFlow<CanvasNode, Edge<WireData>>
        nodes={nodes}
        edges={edges}
        nodeTypes={nodeTypes as any}
        edgeTypes={edgeTypes as any}
        onNodesChange={onNodesChange}
        onNodeClick={(event, node) => {
          setMenu(null);
          const more = event.ctrlKey || event.metaKey || event.shiftKey;
          select(more ? toggled(selected.nodes, node.id) : [node.id]);
        }}
        onNodeDoubleClick={(_, node) => openForm(node.id)}
        onNodeContextMenu={(event, node) => {
          event.preventDefault();
          select([node.id]);
          setMenu({ node: node.id, at: { x: event.clientX, y: event.clientY } });
        }}
        onNodeDrag={(_, node, all) => {
          over.current = all.length === 1 ? wireUnder({ x: node.position.x + 80, y: node.position.y + 17 }) : null;
        }}
        onNodeDragStop={(_, node, all) => {
          const places = new Map(all.map((one) => [one.id, one.position]));
          const wire = over.current;
          over.current = null;
          const isWired = tab.doc.wires?.some((one) => [one.from, one.to].some((end) => end.startsWith(`${node.id}.`)));
          edit((doc) => {
            const moved = moveNodes(doc, places);
            return (wire && !isWired ? splice(moved, node.id, wire, types) : null) ?? moved;
          });
        }}
        onSelectionEnd={() => select(nodes.filter((node) => node.selected).map((node) => node.id))}
        onEdgeClick={(_, wire) => select([], wire.id)}
        onPaneClick={click}
        onConnect={connect}
        onConnectEnd={connectEnd}
        isValidConnection={valid}
        onReconnect={(old, made) => edit((doc) => addWireOf(removeWires(doc, new Set([old.id])), made))}
        onNodesDelete={(gone) => edit((doc) => removeNodes(doc, new Set(gone.map((node) => node.id))))}
        deleteKeyCode={null}
        selectionOnDrag
        selectionMode={SelectionMode.Partial}
        panOnDrag={[1]}
        panOnScroll
        zoomOnDoubleClick={false}
        snapToGrid
        snapGrid={[GRID, GRID]}
        minZoom={0.1}
        maxZoom={2}
        onlyRenderVisibleElements={nodes.length > 150}
        proOptions={{ hideAttribution: true }}
      >
        <Background variant={BackgroundVariant.Dots} gap={GRID} size={1} color="var(--grid)" />
        <Controls showInteractive={false} />
        <MiniMap pannable zoomable ariaLabel="Mini-map" />
      </ReactFlow>
      {adding && (
        <QuickAdd
          screen={adding.screen}
          onPick={(type) => {
            put(type, adding.at, adding.from);
            setAdding(null);
          }}
          onClose={() => setAdding(null)}
        />
      )}
      {menu && <NodeMenu node={menu.node} at={menu.at} onClose={() => setMenu(null)} />}
    </div>
  );
}

const addWireOf = (doc: FlowDoc, made: Connection) =>
  addWire(doc, { from: `${made.source}.${made.sourceHandle}`, to: `${made.target}.${made.targetHandle}` });

function toggled(ids: Set<string>, id: string): Set<string> {
  const next = new Set(ids);
  if (!next.delete(id)) next.add(id);
  return next;
}

/** The wire whose line passes at a place on the canvas, if any. */
function wireUnder(at: Point): string | null {
  for (const path of document.querySelectorAll<SVGPathElement>(".react-flow__edge-path")) {
    const length = path.getTotalLength();
    for (let s = 0; s <= length; s += 6) {
      const point = path.getPointAtLength(s);
      if (Math.abs(point.x - at.x) < 24 && Math.abs(point.y - at.y) < 20) {
        return path.closest(".react-flow__edge")?.getAttribute("data-id") ?? null;
      }
    }
  }
  return null;
}
