"""Text that says which layers and activations are shown together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

GROUPS_TAG = "thermo/layer_groups"
"""Tag of the text of the first monitor of a run; a second one has it with ``_2`` behind it."""
_LISTED = 12  # members that are listed one by one


def groups_text(layers: Mapping[str, Sequence[str]], activations: Mapping[str, Sequence[str]]) -> str:
    """Tables of what is in each group, in Markdown; empty where nothing is grouped.

    Args:
        layers: Group of layers to those in it.
        activations: Group of activations to those in it.

    Returns:
        One paragraph, and a table for each kind.

    Example:
        >>> print(groups_text({"blocks.0-1": ["blocks.0.a", "blocks.1.a"], "head": ["head"]}, {}).splitlines()[-1])
        | `head` | 1 | `head` |
    """
    parts = [
        _table(subject, groups) for subject, groups in (("layers", layers), ("activations", activations)) if groups
    ]
    if not parts:
        return ""
    introduction = (
        "There are too many to be shown one by one: neighbours are shown together. The value of a group is that of all "
        'that is in it: a sum over its members, or their mean. `layers="all"` shows each by itself.'
    )
    return "\n\n".join([introduction, *parts])


def _table(subject: str, groups: Mapping[str, Sequence[str]]) -> str:
    total = sum(map(len, groups.values()))
    head = [
        f"{total:,} {subject} in {len(groups)} groups",
        "",
        f"| Group | {subject.capitalize()} | Which |",
        "|---|---|---|",
    ]
    return "\n".join(
        [*head, *(f"| `{name}` | {len(members):,} | {_which(members)} |" for name, members in groups.items())]
    )


def _which(members: Sequence[str]) -> str:
    if len(members) > _LISTED:
        return f"`{members[0]}` to `{members[-1]}`"
    return ", ".join(f"`{member}`" for member in members)
