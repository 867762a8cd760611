"""Our nodes beside Node-RED's: the same messages through both, and what differs told with its reason."""
