"""Flows of other tools turned into ours. Pure: plain data in, plain data out; one package a tool."""
