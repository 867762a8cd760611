"""What the web editor costs: its first view, how it pans with live data, and the gateway's memory."""
