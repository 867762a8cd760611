"""Delivery between two ports: windows, acks, and sending again what was not acked.

Knows sequence numbers and subjects; never looks into a payload, never frees a tensor's slot (`flowcore.node` does).
`docs/wires.md` has the states and the reasons.
"""
