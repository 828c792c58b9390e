"""Every command says in one short sentence what it does, and every option what it is for."""

from collections.abc import Iterator

import click
import pytest

from disentangle_bench.cli import main

ROOM = 61  # characters that `bench --help` has for a sentence at 80 columns


def commands(group: click.Group = main, before: str = "bench") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{before} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")


@pytest.mark.parametrize(("name", "command"), [pytest.param(*each, id=each[0]) for each in commands()])
def test_help(name: str, command: click.Command) -> None:
    sentence = command.get_short_help_str(ROOM)
    assert sentence
    assert not sentence.endswith("..."), f"{name}: the first sentence is longer than {ROOM} characters"
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert not [option.opts[0] for option in options if not option.help and not option.hidden]
