"""Exports of Node-RED, and the flows that they become."""
