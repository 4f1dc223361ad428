"""Write the golden files that are missing; those that exist are never touched.

    python tests/compressors/write_golden.py

An intended change of a byte format: delete its file, run this, and say so in the CHANGELOG.
"""

import json
from pathlib import Path

from compressor_table import COMPRESSORS
from golden_vectors import entry, golden_vectors

FOLDER = Path(__file__).parent / "golden"

if __name__ == "__main__":
    for row, compressor in COMPRESSORS.items():
        path = FOLDER / f"{row}.json"
        if not path.exists():
            golden = {name: entry(compressor, x) for name, x in golden_vectors().items()}
            path.write_text(json.dumps(golden, indent=1) + "\n")
