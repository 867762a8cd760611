/** What the canvas draws now. Parts that did not change stay the same objects, so that only what changed is drawn anew. */

import { useMemo, useRef } from "react";
import type { FlowDoc } from "../api/types";
import { templateOf } from "../model/subflows";
import { waysOf } from "../model/ways";
import { activeTab, livePrefix, openPath, shownFlow, useEditor } from "../state/editor";
import { drawNodes, drawWires, type CanvasNode, type Drawing } from "./drawing";

export function useDrawing() {
  const tab = useEditor(activeTab)!;
  const flow = useEditor(shownFlow)!;
  const types = useEditor((state) => state.types);
  const wire = useEditor((state) => state.selected.wire);
  const template = useEditor((state) => openPath(state).at(-1)?.subflow ?? null);
  const prefix = useEditor(livePrefix);
  const drawn = useRef(new Map<string, CanvasNode>());
  const drawing = useMemo((): Drawing => {
    const deployed = tab.deployed && template ? deployedTemplate(tab.deployed, template) : tab.deployed;
    const ways = waysOf(tab.doc, openPath(useEditor.getState()));
    return {
      flow,
      deployed,
      id: tab.id,
      template,
      prefix,
      ways,
      problems: tab.problems,
      types,
      isDeployed: tab.base > 0,
    };
  }, [flow, tab.deployed, tab.id, template, prefix, tab.problems, types, tab.base]);
  const nodes = useMemo(() => {
    const next = drawNodes(drawing).map((node) => unlessSame(drawn.current.get(node.id), node));
    drawn.current = new Map(next.map((node) => [node.id, node]));
    return next;
  }, [drawing]);
  const edges = useMemo(() => drawWires(drawing, wire), [drawing, wire]);
  return { flow, template, path: `${tab.id}/${prefix ?? "-"}/${template ?? ""}`, nodes, edges };
}

const deployedTemplate = (deployed: FlowDoc, name: string) =>
  deployed.subflows?.[name] ? templateOf(deployed, name) : null;

function unlessSame(before: CanvasNode | undefined, now: CanvasNode): CanvasNode {
  if (!before) return now;
  const { data, ...place } = now;
  const { data: dataBefore, ...placeBefore } = before;
  if (!isSame(data, dataBefore)) return now;
  return isSame(place, placeBefore) ? before : ({ ...now, data: dataBefore } as CanvasNode);
}

/** Whether two records hold the same: their parts are compared as JSON, unless they are the same objects. */
function isSame(a: object, b: object): boolean {
  const [first, second] = [a as Record<string, unknown>, b as Record<string, unknown>];
  const keys = Object.keys(first);
  if (keys.length !== Object.keys(second).length) return false;
  return keys.every((key) => first[key] === second[key] || JSON.stringify(first[key]) === JSON.stringify(second[key]));
}
