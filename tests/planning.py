"""The planner's rules, replaced for a test."""

from dataclasses import asdict, replace

from fastnn.training import plan

DEFAULTS = asdict(plan.Rules())


def rule(name):
    """The value of a rule that holds now."""
    return getattr(plan.rules, name)


def use_rules(set_attribute=setattr, **rules):
    """Replace rules of the planner: ``use_rules(monkeypatch.setattr, epoch_flops=0)``.

    Without ``set_attribute`` they hold for the rest of the process. A number as ``native_width`` is
    that of every instruction set.
    """
    width = rules.get("native_width")
    if isinstance(width, int):
        rules["native_width"] = tuple((isa, width) for isa, _ in plan.rules.native_width)
    set_attribute(plan, "rules", replace(plan.rules, **rules))
