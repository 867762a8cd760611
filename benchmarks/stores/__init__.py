"""What a storing node carries, by how much it holds."""
