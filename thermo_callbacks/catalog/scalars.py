"""Values under their tags."""

from __future__ import annotations

Scalars = dict[str, float]
"""Tag to value, as a run logs them."""
