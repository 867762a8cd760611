"""What a node may do on the embedded MQTT broker comes from its config, and only there."""

from flowcore.flow.resolved import NodeSpec, ResolvedFlow
from flowcore.runtime.desired import Desired
from flowcore.runtime.plans import plan_flow
from flowcore.runtime.typelist import read
