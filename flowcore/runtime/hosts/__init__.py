"""Several hosts on one bus: who is there, what runs where, and how a node moves from one to another."""
