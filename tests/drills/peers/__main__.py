"""The command."""

from tests.drills.peers.drill import main

main()
