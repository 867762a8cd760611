"""Connectors whose peer is away: `drill` has the drill, `cases` what is drilled, the others the peers."""
