"""The options of `python -m fastnn`, from its own parser."""

import argparse


def page():
    """Return all commands with their options as Markdown."""
    from fastnn import cli

    parser = cli._parser()
    parts = []
    (commands,) = [action for action in parser._actions
                   if isinstance(action, argparse._SubParsersAction)]
    for name, command in commands.choices.items():
        parts += [f"## {name}", "", _words(command.description or ""), ""]
        for group in command._action_groups:
            shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS
                     and not isinstance(action, argparse._HelpAction)]
            if not shown:
                continue
            parts += ["| option | |", "|---|---|"]
            parts += [f"| {_name(action)} | {_help(action)} |" for action in shown]
            parts.append("")
    return "\n".join(parts)


def _name(action):
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else None)
    if isinstance(value, tuple):
        value = " ".join(value)
    if action.choices and action.metavar is None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        return f"`{value}`"
    names = ", ".join(action.option_strings)
    shown = f"{names} {value}" if action.nargs != 0 and value else names
    return f"`{shown}`".replace("|", "\\|")


def _help(action):
    values = {**vars(action), "prog": "python -m fastnn"}
    return _words((action.help or "") % values)


def _words(text):
    text = " ".join(text.split())
    for char in "\\`*_<>[]{}$|~#":
        text = text.replace(char, "\\" + char)
    return text
