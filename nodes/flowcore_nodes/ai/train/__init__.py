"""The detector that comes with flowcore: how it is trained, exported, made small and judged. See docs/ai.md.

`python -m flowcore_nodes.ai.train` needs `pip install 'flowcore[train]'`; `evaluate` alone does with `[ai,vision]`.
"""
