// Source, sink and trigger of the measured Node-RED flows: told by the bench over a Unix socket, as kit.py does it for
// the others. What is between them are Node-RED's own nodes.

const net = require("node:net");
const readline = require("node:readline");
const { performance } = require("node:perf_hooks");

/** Call `obey` with each order; it may answer at once or later. */
function takeOrders(node, role, obey) {
    const socket = net.connect(process.env.PEERS_SOCKET);
    const answer = (what) => socket.write(JSON.stringify(what) + "\n");
    answer({ role, pid: process.pid });
    readline.createInterface({ input: socket }).on("line", (line) => obey(JSON.parse(line), answer));
    socket.on("close", () => process.exit(0)); // the bench has gone
    node.on("close", () => socket.destroy());
}

module.exports = function (RED) {
    /** As fast as the runtime takes them: `PEERS_BATCH` messages a turn of the event loop; or evenly, by `rate_hz`. */
    RED.nodes.registerType("peers-source", function (config) {
        RED.nodes.createNode(this, config);
        const batch = Number(process.env.PEERS_BATCH);
        takeOrders(this, "source", (order, answer) => {
            const begun = performance.now(), ends = begun + order.seconds * 1000;
            let sent = 0;
            const send = () => {
                const t = order.due ? begun + (sent * 1000) / order.rate_hz : performance.now();
                sent += 1;
                this.send({ payload: { run: order.run, n: sent, machine: "press-7", t } });
            };
            const turn = () => {
                const now = performance.now();
                if (now >= ends) return answer({ sent });
                if (order.rate_hz) {
                    while (begun + (sent * 1000) / order.rate_hz <= now) send();
                    return setTimeout(turn, 1);
                }
                for (let i = 0; i < batch; i += 1) send();
                setImmediate(turn);
            };
            turn();
        });
    });

    /** What Tally is in kit.py. */
    RED.nodes.registerType("peers-sink", function (config) {
        RED.nodes.createNode(this, config);
        let order = { run: 0 }, from = 0, until = 0, received = 0, taken = 0, ages = [];
        this.on("input", (msg, send, done) => {
            const now = performance.now();
            if (msg.payload.run === order.run) {
                if (received === 0) {
                    from = now + order.warm_s * 1000;
                    until = now + order.seconds * 1000;
                }
                received += 1;
                if (from <= now && now < until) {
                    taken += 1;
                    if (order.ages) ages.push(now - msg.payload.t);
                }
            }
            done();
        });
        takeOrders(this, "sink", (said, answer) => {
            if (said.do === "begin") {
                order = said;
                received = taken = 0;
                ages = [];
            }
            answer({ received, taken, ages_ms: said.do === "ages" ? ages : [] });
        });
    });

    /** Sends the seconds to be busy to the function node behind it. */
    RED.nodes.registerType("peers-trigger", function (config) {
        RED.nodes.createNode(this, config);
        takeOrders(this, "busy", (order, answer) => {
            answer({});
            this.send({ payload: order.seconds });
        });
    });
};
