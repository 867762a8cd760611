"""Frames made of frames: `on_cpu` by OpenCV, `on_gpu` by cupy where the frame is there; `change` tells which."""
