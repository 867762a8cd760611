"""`python -m tests.convert`: write what the exports become anew; look at the difference before you keep it."""

import shutil

from tests.convert.turned import EXPORTS, HERE, files

shutil.rmtree(HERE / "flows", ignore_errors=True)
for export in EXPORTS:
    for path, text in files(export).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(HERE))
