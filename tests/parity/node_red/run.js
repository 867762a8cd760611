// Run cases through Node-RED's own runtime, headless, all in one process: node run.js NODE_RED CASES RECORDED
//
// CASES: [{id, flow, context, between_ms, after_ms, send: [{into, msg} or {wait_ms}]}], written by theirs.py; a flow has its sinks
// already. RECORDED: {id: [{port, msg} or {error}]}. Nothing listens on a port.

const fs = require("node:fs");
const path = require("node:path");
const http = require("node:http");

const [, , nodeRed, casesFile, recordedFile] = process.argv;
const RED = require(nodeRed);
const cases = JSON.parse(fs.readFileSync(casesFile, "utf8"));
const recorded = Object.fromEntries(cases.map((one) => [one.id, []]));
const AT_ONCE = 24; // cases; more would make timers late
const ended = new Set();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** A value as JSON can hold it: bytes, NaN and times marked, what is undefined left out. */
function plain(value) {
    if (Buffer.isBuffer(value)) return { $bytes: value.toString("hex") };
    if (value instanceof Date) return { $time: value.toISOString() };
    if (typeof value === "number" && !Number.isFinite(value)) return { $number: String(value) };
    if (Array.isArray(value)) return value.map((one) => (one === undefined ? null : plain(one)));
    if (value === null || typeof value !== "object") return value;
    const kept = Object.entries(value).filter(([, one]) => one !== undefined && typeof one !== "function");
    return Object.fromEntries(kept.map(([key, one]) => [key, plain(one)]));
}

/** The other way: `{"$bytes": ..}` in a case becomes a buffer. */
function live(value) {
    if (Array.isArray(value)) return value.map(live);
    if (value === null || typeof value !== "object") return value;
    if (typeof value.$bytes === "string") return Buffer.from(value.$bytes, "hex");
    if (typeof value.$number === "string") return Number(value.$number);
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, live(one)]));
}

function record(id, port, msg) {
    if (ended.has(id)) return; // what comes later depends on how long the others take
    if (port === "error") return recorded[id].push({ error: msg.error.message });
    const { _msgid, ...rest } = msg;
    recorded[id].push({ port, msg: plain(rest) });
}

async function run(one) {
    for (const step of one.send) {
        if (step.wait_ms) {
            await pause(step.wait_ms);
            continue;
        }
        RED.nodes.getNode(step.into).receive({ _msgid: RED.util.generateId(), ...live(step.msg) });
        // So that what it sets going is done, as a test of ours waits for it. 0: within one turn of the event loop, for
        // nodes whose clock runs from their start, so that no tick falls between two messages.
        if (one.between_ms) await pause(one.between_ms);
    }
    await pause(one.after_ms);
    ended.add(one.id);
}

async function main() {
    const userDir = path.dirname(casesFile);
    RED.init(http.createServer(), {
        userDir,
        nodesDir: __dirname,
        httpAdminRoot: false,
        httpNodeRoot: false,
        parityRecord: record,
        flowFile: path.join(userDir, "flows.json"),
        credentialSecret: false,
        functionExternalModules: false,
        telemetry: { enabled: false, updateNotification: false },
        logging: { console: { level: "off", metrics: false, audit: false } },
    });
    const started = new Promise((done) => RED.events.once("flows:started", done));
    await RED.start();
    await started;
    const again = new Promise((done) => RED.events.once("flows:started", done));
    await RED.runtime.flows.setFlows({ flows: { flows: cases.flatMap((one) => one.flow) }, deploymentType: "full" });
    await again;
    for (const one of cases) {
        for (const { into } of one.send.filter((step) => step.into)) {
            if (!RED.nodes.getNode(into)) throw new Error(`${one.id}: Node-RED has no node ${into}`);
        }
        const context = RED.nodes.getNode(one.anchor).context();
        for (const [key, value] of Object.entries(one.context.flow ?? {})) context.flow.set(key, live(value));
        for (const [key, value] of Object.entries(one.context.global ?? {})) context.global.set(key, live(value));
    }
    await pause(1000); // what the start set going is over
    for (let at = 0; at < cases.length; at += AT_ONCE) await Promise.all(cases.slice(at, at + AT_ONCE).map(run));
    fs.writeFileSync(recordedFile, JSON.stringify({ version: RED.version(), recorded }));
    process.exit(0);
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
