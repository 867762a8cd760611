"""What `flowcore bench` measures: a real `flowcore up` of its own, real node processes, and honest figures.

    figures      a figure: a value for each run, its spread, percentiles, the target
    machine      what it was measured on: processor, memory, versions, who else was busy
    runtime      a runtime on a temporary folder and free ports, which leaves nothing behind (drills use it too)
    nodes        the node classes; a plug-in of that runtime alone, no host that people use ever lists them
    line         a flow of a source, stages and sinks, and one measured run of it
    raw          raw nats-py: what a hop is compared with
    parts/       one file a part: throughput, latency, ...
    session      parts one after the other, as one report
    plot         the report as a picture

Latency is the time from a message's `ts`, stamped as its source sends it, to the first line of the sink's handler, of
messages sent at a steady pace; percentiles are over all messages of all runs, never averages of percentiles.
Throughput is what the sink's handler counted between two points of its own clock, after a warm-up.
"""
