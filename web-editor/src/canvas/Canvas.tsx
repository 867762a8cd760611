/** The canvas: draws the flow or the template that is open, and turns what the mouse does into changes of its document. */

import {
  Controls,
  ReactFlow,
  SelectionMode,
  useNodesState,
  useReactFlow,
  useStore,
  type Connection,
  type Edge,
  type OnConnectEnd,
  type Viewport,
} from "@xyflow/react";
import { useCallback, useEffect, useMemo, useRef, useState, type DragEvent, type MouseEvent } from "react";
import { addWire, GRID, moveNodes, nodesOf, placeOf, removeWires, splice, type Point } from "../model/flow";
import { dropped, membersOf } from "../model/groups";
import { portAt, refusal } from "../model/ports";
import { isPort, subflowName } from "../model/subflows";
import { activeTab, edit, openDialog, openForm, select, shownFlow, toast, useEditor } from "../state/editor";
import { useLive } from "../state/live";
import { openSubflow } from "../state/view";
import { Breadcrumb } from "./Breadcrumb";
import { groupBoxId, placeOnCanvas, type CanvasNode, type NodeBox } from "./drawing";
import { FarWires } from "./FarWires";
import { Grid } from "./Grid";
import { WireLabels } from "./labels";
import { LinkLines } from "./LinkLines";
import { MiniMap } from "./MiniMap";
import { NodeMenu, WireMenu } from "./NodeMenu";
import { NodeView } from "./NodeView";
import { draggedTo, middleOf, notInside, put, toggled, wireUnder } from "./pick";
import { point } from "./pointer";
import { QuickAdd } from "./QuickAdd";
import { CommentView, GroupView, JunctionView, PortView } from "./SmallViews";
import { useDrawing } from "./useDrawing";
import { WireView, type WireData } from "./WireView";

const nodeTypes = { node: NodeView, frame: GroupView, comment: CommentView, junction: JunctionView, port: PortView };
const edgeTypes = { wire: WireView };
export const DRAGGED = "application/x-flowcore-type";
const MANY = 60;
const FAR = 0.35; // nothing can be read below this zoom
const READABLE = 0.6; // a flow that is larger than the window opens at its corner, not as a picture of itself
const seen = new Map<string, Viewport>(); // where one was in each flow

const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const isPane = (event: MouseEvent) => /react-flow__pane|\bgroup\b/.test(String((event.target as Element).className));

const NO_EDGES: Edge<WireData>[] = [];

type Opened = { kind: "node" | "wire"; id: string; at: Point; place: Point } | null;

export function Canvas() {
  const isEmpty = useEditor((state) => !activeTab(state));
  return isEmpty ? <div className="canvas is-empty">No flow yet: add one with + above.</div> : <Drawn />;
}

function Drawn() {
  const { flow, template, path, nodes: wanted, edges } = useDrawing();
  const types = useEditor((state) => state.types);
  const selected = useEditor((state) => state.selected);
  const toReveal = useEditor((state) => state.reveal);
  const { screenToFlowPosition, setCenter, getZoom, fitView, getNodes, getNodesBounds, getViewport, setViewport } =
    useReactFlow<CanvasNode>();
  const [nodes, setNodes, onNodesChange] = useNodesState<CanvasNode>([]);
  const [adding, setAdding] = useState<{ at: Point; screen: Point; from?: string } | null>(null);
  const [menu, setMenu] = useState<Opened>(null);
  const [over, setOver] = useState<string | null>(null);
  const isFar = useStore((state) => state.transform[2] < FAR);
  const isUp = useLive((now) => now.up);
  const canvas = useRef<HTMLDivElement>(null);
  const frames = useRef(new Map<string, Point>());

  useEffect(() => {
    frames.current = new Map(wanted.filter((one) => one.type === "frame").map((one) => [one.id, one.position]));
    setNodes((old) => {
      const before = new Map(old.map((node) => [node.id, node]));
      return wanted.map((node) => {
        const was = before.get(node.id);
        const isSelected = selected.nodes.has(node.id) || (!!selected.group && node.id === groupBoxId(selected.group));
        return { ...(was?.measured ? { measured: was.measured } : {}), ...node, selected: isSelected } as CanvasNode;
      });
    });
  }, [wanted, selected, setNodes]);

  useEffect(() => {
    const before = seen.get(path);
    const look = async () => {
      if (before) return setViewport(before);
      if (!wanted.length) return setViewport({ x: 0, y: 0, zoom: 1 }); // a fit would wait for the first node, and move it
      await fitView({ maxZoom: 1, padding: 0.15 });
      const { x, y } = getNodesBounds(getNodes());
      if (getZoom() < READABLE) await setViewport({ x: 40 - x * READABLE, y: 40 - y * READABLE, zoom: READABLE });
    };
    requestAnimationFrame(() => void look());
    return () => void seen.set(path, getViewport());
  }, [path]);
  useEffect(() => {
    const found = toReveal && nodesOf(flow).find((node) => node.id === toReveal.node);
    if (!found) return;
    const { x, y } = placeOf(found);
    const look = () =>
      void setCenter(x + 80, y + 20, { zoom: Math.max(getZoom(), 0.8), duration: isStill() ? 0 : 200 });
    requestAnimationFrame(() => requestAnimationFrame(look)); // after the view was fitted, where a template was opened
  }, [toReveal]);

  const misfit = useCallback((from: string, to: string) => {
    const state = useEditor.getState();
    const doc = shownFlow(state)!;
    if (isPort(from) && isPort(to)) return "put a junction between an input and an output of a subflow";
    return refusal(portAt(from, "outputs", state.types, doc), portAt(to, "inputs", state.types, doc));
  }, []);
  const valid = useCallback(
    (wire: Connection | Edge) =>
      misfit(`${wire.source}.${wire.sourceHandle}`, `${wire.target}.${wire.targetHandle}`) === null,
    [misfit],
  );
  const connect = useCallback((made: Connection) => {
    const wire = { from: `${made.source}.${made.sourceHandle}`, to: `${made.target}.${made.targetHandle}` };
    edit((doc) => addWire(doc, made.source === made.target ? { ...wire, feedback: true } : wire));
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
        setAdding({
          at: screenToFlowPosition(screen),
          screen,
          from: `${state.fromHandle.nodeId}.${state.fromHandle.id}`,
        });
      }
    },
    [screenToFlowPosition, misfit],
  );

  const putNode = (type: string, at: Point, from?: string) => {
    const why = notInside(flow, type, template);
    if (why) return toast("error", "This subflow cannot stand here", [why]);
    const wire = from ? null : wireUnder({ x: at.x + (type === "core/junction" ? 10 : 0), y: at.y + 17 });
    let made = "";
    edit((doc) => {
      const [next, id] = put(doc, type, at, types, wire, from);
      made = id;
      return next;
    });
    select([made]);
  };
  const drop = (event: DragEvent) => {
    const type = event.dataTransfer.getData(DRAGGED);
    if (!type) return;
    event.preventDefault();
    const at = screenToFlowPosition({ x: event.clientX, y: event.clientY });
    putNode(type, type === "core/junction" ? { x: at.x - 10, y: at.y - 17 } : { x: at.x - 60, y: at.y - 17 });
  };
  const add = (event: MouseEvent) => {
    const screen = { x: event.clientX, y: event.clientY };
    setAdding({ at: screenToFlowPosition(screen), screen });
  };
  const click = (event: MouseEvent) => {
    setMenu(null);
    if (event.ctrlKey || event.metaKey) add(event);
    else select([]);
  };
  const choose = (node: CanvasNode, more: boolean) => {
    if (node.type === "frame") {
      const group = node.id.slice(groupBoxId("").length);
      select(
        membersOf(flow, group).map((one) => one.id),
        null,
        group,
      );
    } else select(more ? toggled(selected.nodes, node.id) : [node.id]);
  };
  /** The wire that a node which is dragged alone, and has none yet, would be put into where it is now. */
  const wireBelow = (all: CanvasNode[]) => {
    const [node] = all;
    const def = node && all.length === 1 && nodesOf(flow).find((one) => one.id === node.id);
    if (!def || isPort(def.id)) return null;
    if (flow.wires?.some((one) => [one.from, one.to].some((end) => end.startsWith(`${def.id}.`)))) return null;
    return wireUnder(middleOf({ ...def, ui: { ...placeOnCanvas(node, frames.current) } }, types, flow));
  };
  const dragStop = (all: CanvasNode[]) => {
    const dragged = all.map((one) => ({ id: one.id, at: placeOnCanvas(one, frames.current) }));
    const places = draggedTo(flow, dragged, frames.current, groupBoxId);
    const wire = wireBelow(all); // looked for anew: what is marked may be a move behind
    setOver(null);
    edit((doc) => {
      const moved = dropped(doc, moveNodes(doc, places), new Set(places.keys()), types);
      return (wire ? splice(moved, all[0]!.id, wire, types) : null) ?? moved;
    });
  };
  const opens = (event: MouseEvent, kind: "node" | "wire", id: string) => {
    event.preventDefault();
    const at = { x: event.clientX, y: event.clientY };
    setMenu({ kind, id, at, place: screenToFlowPosition(at) });
  };
  const open = (node: NodeBox) => {
    if (node.id.startsWith("@")) return openDialog({ kind: "port", id: node.id });
    const subflow = subflowName(node.data.def.type);
    if (subflow && !Object.keys(flow.subflows?.[subflow]?.params ?? {}).length) openSubflow(subflow, node.id);
    else openForm(node.id);
  };

  const drawnEdges = useMemo(
    () => (over ? edges.map((edge) => (edge.id === over ? { ...edge, className: "is-under" } : edge)) : edges),
    [edges, over],
  );
  return (
    <div
      className={`canvas${isFar ? " is-far" : ""}${isUp ? "" : " is-away"}`}
      ref={canvas}
      onDragOver={(event) => event.preventDefault()}
      onDrop={drop}
      onDoubleClick={(event) => isPane(event) && add(event)}
      onMouseMove={(event) =>
        point(isPane(event) ? screenToFlowPosition({ x: event.clientX, y: event.clientY }) : null)
      }
      onMouseLeave={() => point(null)}
      data-testid="canvas"
    >
      <ReactFlow<CanvasNode, Edge<WireData>>
        nodes={nodes}
        edges={isFar ? NO_EDGES : drawnEdges}
        nodeTypes={nodeTypes as any}
        edgeTypes={edgeTypes as any}
        onNodesChange={onNodesChange}
        onNodeClick={(event, node) => {
          setMenu(null);
          choose(node, event.ctrlKey || event.metaKey || event.shiftKey);
        }}
        onNodeDoubleClick={(_, node) => node.type !== "frame" && open(node as NodeBox)}
        onNodeContextMenu={(event, node) => {
          if (!selected.nodes.has(node.id)) choose(node, false);
          opens(event, "node", node.id);
        }}
        onNodeDragStart={(_, node) => !selected.nodes.has(node.id) && choose(node, false)}
        onNodeDrag={(_, __, all) => setOver(wireBelow(all))}
        onNodeDragStop={(_, __, all) => dragStop(all)}
        onSelectionDragStop={(_, all) => dragStop(all)}
        onSelectionEnd={() => {
          const chosen = getNodes().filter((node) => node.selected && node.type !== "frame");
          select(chosen.map((node) => node.id));
        }}
        onEdgeClick={(_, wire) => select([], wire.id)}
        onEdgeContextMenu={(event, wire) => {
          select([], wire.id);
          opens(event, "wire", wire.id);
        }}
        onPaneClick={click}
        onConnect={connect}
        onConnectEnd={connectEnd}
        isValidConnection={valid}
        onReconnect={(old, made) =>
          edit((doc) => {
            const wire = { from: `${made.source}.${made.sourceHandle}`, to: `${made.target}.${made.targetHandle}` };
            return addWire(removeWires(doc, new Set([old.id])), { ...old.data?.def, ...wire });
          })
        }
        onMoveStart={() => canvas.current?.classList.add("is-moving")}
        onMoveEnd={() => canvas.current?.classList.remove("is-moving")}
        deleteKeyCode={null}
        disableKeyboardA11y
        elevateNodesOnSelect={false}
        selectionOnDrag
        selectionMode={SelectionMode.Partial}
        panOnDrag={[1]}
        panOnScroll
        zoomOnDoubleClick={false}
        snapToGrid
        snapGrid={[GRID, GRID]}
        minZoom={0.1}
        maxZoom={2}
        onlyRenderVisibleElements={nodes.length > MANY}
        proOptions={{ hideAttribution: true }}
      >
        <Grid />
        <Controls showInteractive={false} />
        <MiniMap flow={flow} types={types} />
        {isFar && <FarWires {...{ flow, types, edges }} />}
        <WireLabels />
        <LinkLines />
      </ReactFlow>
      {!nodes.length && <p className="canvas-hint">Drag a node here, or double-click and type its name.</p>}
      <Breadcrumb />
      {adding && (
        <QuickAdd
          screen={adding.screen}
          onPick={(type) => {
            putNode(type, adding.at, adding.from);
            setAdding(null);
          }}
          onClose={() => setAdding(null)}
        />
      )}
      {menu?.kind === "node" && <NodeMenu node={menu.id} at={menu.at} onClose={() => setMenu(null)} />}
      {menu?.kind === "wire" && (
        <WireMenu wire={menu.id} at={menu.at} place={menu.place} onClose={() => setMenu(null)} />
      )}
    </div>
  );
}
