"""Devices that are played, not real: they publish over ordinary MQTT and react to commands."""
