"""Makes the process as large as is asked for: what a fork costs depends on how much of its memory is mapped."""

from __future__ import annotations

import os

HELD = bytearray(b"\1") * (int(os.environ.get("BENCH_MEGABYTES", "0")) << 20)
