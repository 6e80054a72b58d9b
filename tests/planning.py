"""The planner's rules, replaced for a test: the one place that knows where they are kept."""

from fastnn import plan

# rule: the constant of fastnn.plan
NAMES = {
    "epoch_flops": "EPOCH_FLOPS",
    "max_shards": "MAX_SHARDS",
    "shard_rows": "SHARD_ROWS",
    "min_shard_flops": "MIN_SHARD_FLOPS",
    "max_blocks": "MAX_BLOCKS",
    "block_rows": "BLOCK_ROWS",
    "chunk": "CHUNK",
    "chunk_size": "PANEL",
    "chunk_rows": "PANEL_ROWS",
    "native_width": "NATIVE_WIDTH",
    "widest_feature_major": "WIDEST_COLUMNS",
}


DEFAULTS = {name: getattr(plan, constant) for name, constant in NAMES.items()}


def rule(name):
    """The value of a rule that holds now."""
    return getattr(plan, NAMES[name])


def use_rules(set_attribute=setattr, **rules):
    """Replace rules of the planner: ``use_rules(monkeypatch.setattr, epoch_flops=0)``.

    Without ``set_attribute`` they hold for the rest of the process. A number as ``native_width`` is
    that of every instruction set.
    """
    for name, value in rules.items():
        if name == "native_width" and not isinstance(value, dict):
            value = dict.fromkeys(plan.NATIVE_WIDTH, value)
        set_attribute(plan, NAMES[name], value)
