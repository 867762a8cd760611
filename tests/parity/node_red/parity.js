// What stands at the ends of a case in Node-RED: whatever reaches it is written down, in order.

module.exports = function (RED) {
    RED.nodes.registerType("parity-sink", function (config) {
        RED.nodes.createNode(this, config);
        this.on("input", (msg, send, done) => {
            RED.settings.parityRecord(config.case, config.port, msg);
            done();
        });
    });
};
