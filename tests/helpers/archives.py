"""Saved files, rewritten as if they were damaged."""

import json

import numpy as np


def rewrite(path, **changes):
    """Replace arrays of a file by what their change returns (given None for one that is not there),
    and remove those whose change is None. The header is an array, too."""
    with np.load(path) as archive:
        arrays = dict(archive)
    for name, change in changes.items():
        if change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays.get(name))
    np.savez(path, **arrays)


def parsed(change):
    """A change of the header that applies `change` to its content."""
    return lambda header: np.array(json.dumps(change(json.loads(str(header)))))


def replaced(old, new):
    """A change of the header that replaces a part of its text."""

    def change(header):
        assert old in str(header)
        return np.array(str(header).replace(old, new))

    return change
