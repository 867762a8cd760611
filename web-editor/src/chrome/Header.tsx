/** The top: flows as tabs, how the runtime is, undo, and Deploy. */

import { useEffect, useRef, useState } from "react";
import { api } from "../api/http";
import type { FlowDoc } from "../api/types";
import {
  addFlow,
  anyDirty,
  attempt,
  editFlow,
  isDirty,
  moveFlow,
  openDialog,
  redo,
  removeFlow,
  show,
  undo,
  useEditor,
  type Tab,
} from "../state/editor";
import { deploy } from "../state/deploy";
import { useLive } from "../state/live";
import { Menu, type MenuItem } from "./Menu";

export function Header({ onPalette }: { onPalette: (what: "commands" | "search" | "keys") => void }) {
  const up = useLive((now) => now.up);
  const people = useLive((now) => now.people);
  const dirty = useEditor(anyDirty);
  const deploying = useEditor((state) => state.deploying);
  const tab = useEditor((state) => state.tabs[state.active]);
  const [open, setOpen] = useState(false);
  const scopes = [
    ["Changed flows", "flow"],
    ["Changed nodes", "nodes"],
    ["Everything", "full"],
  ] as const;
  return (
    <header className="top">
      <h1>
        <img src="/favicon.svg" alt="" width={22} height={22} /> flowcore
      </h1>
      <Tabs />
      <span className="top-tools">
        {!up && (
          <span className="away" role="alert">
            not connected
          </span>
        )}
        {people.length > 1 && (
          <span
            className="people"
            title={people.map((one) => `${one.name || `browser ${one.number}`}: ${one.flow}`).join("\n")}
          >
            {people.length} here
          </span>
        )}
        <button aria-label="Undo" title="Undo (Ctrl+Z)" disabled={!tab?.past.length} onClick={undo}>
          ↶
        </button>
        <button aria-label="Redo" title="Redo (Ctrl+Shift+Z)" disabled={!tab?.future.length} onClick={redo}>
          ↷
        </button>
        <button aria-label="Search" title="Search (Ctrl+F)" onClick={() => onPalette("search")}>
          ⌕
        </button>
        <button aria-label="All actions" title="All actions (Ctrl+Shift+P)" onClick={() => onPalette("commands")}>
          ☰
        </button>
        <span className="deploy">
          <button className="is-main" disabled={!dirty || deploying} onClick={() => void deploy("flow")}>
            {deploying ? "Deploying…" : "Deploy"}
          </button>
          <button className="is-main" aria-label="How to deploy" aria-expanded={open} onClick={() => setOpen(!open)}>
            ▾
          </button>
          {open && (
            <Menu
              items={scopes.map(([label, scope]) => ({ label, act: () => void deploy(scope) }))}
              onClose={() => setOpen(false)}
            />
          )}
        </span>
      </span>
    </header>
  );
}

function Tabs() {
  const order = useEditor((state) => state.order);
  const tabs = useEditor((state) => state.tabs);
  const active = useEditor((state) => state.active);
  const [menu, setMenu] = useState<string | null>(null);
  const [naming, setNaming] = useState<string | null>(null);
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [active, order]);
  return (
    <div className="tabs">
      <div role="tablist" aria-label="Flows" ref={list}>
        {order.map((id) => {
          const tab = tabs[id];
          if (!tab) return null;
          return (
            <button
              key={id}
              role="tab"
              aria-selected={id === active}
              draggable
              onDragStart={(event) => event.dataTransfer.setData("application/x-flowcore-tab", id)}
              onDragOver={(event) => event.preventDefault()}
              onDrop={(event) => {
                const moved = event.dataTransfer.getData("application/x-flowcore-tab");
                if (moved && moved !== id) moveFlow(moved, order.indexOf(id));
              }}
              onClick={() => show(id)}
              onDoubleClick={() => setNaming(id)}
              onContextMenu={(event) => {
                event.preventDefault();
                show(id);
                setMenu(menu === id ? null : id);
              }}
            >
              {tab.wanted === "stopped" && "■ "}
              {tab.doc.name || id}
              {isDirty(tab) && <i className="node-changed" aria-label="changed" />}
            </button>
          );
        })}
      </div>
      <button aria-label="Add a flow" title="Add a flow" onClick={() => addFlow("New flow")}>
        +
      </button>
      {naming && tabs[naming] && <Rename tab={tabs[naming]} onDone={() => setNaming(null)} />}
      {menu && tabs[menu] && (
        <TabMenu tab={tabs[menu]} onRename={() => setNaming(menu)} onClose={() => setMenu(null)} />
      )}
    </div>
  );
}

function Rename({ tab, onDone }: { tab: Tab; onDone: () => void }) {
  const [name, setName] = useState(tab.doc.name || tab.id);
  const done = () => {
    if (name && name !== tab.doc.name) editFlow((doc) => ({ ...doc, name }));
    onDone();
  };
  return (
    <input
      className="rename"
      aria-label="Name of the flow"
      autoFocus
      value={name}
      onChange={(event) => setName(event.target.value)}
      onBlur={done}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Enter") done();
        if (event.key === "Escape") onDone();
      }}
    />
  );
}

function TabMenu({ tab, onRename, onClose }: { tab: Tab; onRename: () => void; onClose: () => void }) {
  const isStopped = tab.wanted === "stopped";
  const steer = async () => {
    await attempt(
      api.steerFlow(tab.id, isStopped ? "start" : "stop"),
      `${tab.id}: ${isStopped ? "started" : "stopped"}`,
    );
    useEditor.setState((state) => ({
      tabs: { ...state.tabs, [tab.id]: { ...state.tabs[tab.id]!, wanted: isStopped ? "running" : "stopped" } },
    }));
  };
  const copy = () =>
    addFlow(`${tab.doc.name || tab.id} copy`, { ...(structuredClone(tab.doc) as FlowDoc), id: `${tab.id}-copy` });
  const items: MenuItem[] = [
    { label: "Rename", act: onRename },
    { label: "Duplicate", act: copy },
  ];
  if (tab.base)
    items.push(
      { label: isStopped ? "Start" : "Stop", act: () => void steer() },
      { label: "Restart", act: () => void attempt(api.steerFlow(tab.id, "restart"), `${tab.id}: restarted`) },
    );
  items.push(
    { label: "Move left", act: () => moveFlow(tab.id, useEditor.getState().order.indexOf(tab.id) - 1) },
    { label: "Move right", act: () => moveFlow(tab.id, useEditor.getState().order.indexOf(tab.id) + 1) },
    { label: "Import JSON", act: () => openDialog({ kind: "import" }) },
    { label: "Export JSON", act: () => openDialog({ kind: "export" }) },
    { label: "Delete", act: () => removeFlow(tab.id) },
  );
  return <Menu items={items} className="tab-menu" onClose={onClose} />;
}
