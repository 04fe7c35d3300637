"""Saved files: whole or not at all, refused when they are not what they should be, and inert."""

import io
import json
import os
import pickle
import stat
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy

from fusedgmm import BatchResult, fit_batch
from fusedgmm._files import load_arrays, save_arrays, write_whole

KIND = "fusedgmm.Test"
ARRAYS = {"means": np.arange(6.0).reshape(2, 3), "names": np.array(["a", "bc"])}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.npz"
    save_arrays(path, KIND, 1, {"tol": 0.5}, ARRAYS)
    return path


@pytest.fixture(scope="module")
def batch():
    X = np.random.default_rng(0).normal(size=(3, 60, 2))
    return fit_batch(X, [1, 2], random_state=0)


@pytest.fixture
def saved_batch(batch, tmp_path):
    path = tmp_path / "batch.npz"
    batch.save(path)
    return path


def load(path):
    return load_arrays(path, KIND, 1)


def everything(result):
    return {name: array.tobytes() for name, array in result._arrays().items()}


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_what_is_saved_is_loaded(path):
    meta, arrays = load(path)
    assert meta == {"tol": 0.5} and set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
def test_pipes_and_devices_are_neither_read_nor_replaced(tmp_path):
    pipe, link = tmp_path / "pipe.npz", tmp_path / "link.npz"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    for path in (pipe, link):
        with pytest.raises(ValueError, match="not a whole file of .*: it is a device or a pipe"):
            load(path)
        with pytest.raises(OSError, match=f"no regular file.*{path.name}"):
            write_whole(path, lambda temporary: pytest.fail("written"))
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.npz", "pipe.npz"]


def test_an_error_has_the_name_that_was_asked_for(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    for error, name in (
        (IsADirectoryError, "folder.npz"),
        (FileNotFoundError, "nowhere/model.npz"),
        (NotADirectoryError, "file/model.npz"),
    ):
        (tmp_path / "file").write_text("")
        with pytest.raises(error, match=name) as caught:
            save_arrays(tmp_path / name, KIND, 1, {}, ARRAYS)
        assert caught.value.filename == str(tmp_path / name)


def test_a_file_cut_anywhere_is_refused(batch, saved_batch):
    whole = saved_batch.read_bytes()
    lengths = {*np.linspace(0, len(whole) - 1, 60).astype(int).tolist(), 1, 4, 22, len(whole) - 22}
    for length in sorted(lengths):
        saved_batch.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"batch\.npz: not a whole"):
            BatchResult.load(saved_batch)
    saved_batch.write_bytes(whole)
    assert everything(BatchResult.load(saved_batch)) == everything(batch)


def test_a_flipped_bit_is_refused_or_harmless(batch, saved_batch):
    """An archive has fields that nobody reads (times, attributes): only there may a flip pass."""
    whole = bytearray(saved_batch.read_bytes())
    rng = np.random.default_rng(7)
    refused = 0
    for place in rng.integers(len(whole), size=300):
        damaged = whole.copy()
        damaged[place] ^= 1 << int(rng.integers(8))
        saved_batch.write_bytes(damaged)
        try:
            loaded = BatchResult.load(saved_batch)
        except ValueError as error:
            assert "batch.npz: " in str(error)
            refused += 1
        else:
            assert everything(loaded) == everything(batch), place
    assert refused > 150


def test_a_flipped_bit_in_the_numbers_is_always_refused(saved_batch):
    whole = bytearray(saved_batch.read_bytes())
    with zipfile.ZipFile(saved_batch) as archive:
        info = archive.getinfo("means.npy")
    end = whole.index(b"means.npy") + len("means.npy") + info.file_size
    for back in range(1, 40):
        damaged = whole.copy()
        damaged[end - back] ^= 1
        saved_batch.write_bytes(damaged)
        with pytest.raises(ValueError, match="not a whole file"):
            BatchResult.load(saved_batch)


def test_a_pickle_inside_is_refused_and_not_run(path, tmp_path):
    trap = tmp_path / "sprung"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    objects = np.empty(1, dtype=object)
    objects[0] = Trap(trap)
    buffer = io.BytesIO()
    npy.write_array(buffer, objects, allow_pickle=True)
    # as long as an array of pointers would be: a pickle ends where it says so
    fitting, spring = io.BytesIO(), pickle.dumps(objects)
    spring += bytes(-len(spring) % 8)
    shape = (len(spring) // 8,)
    npy.write_array_header_1_0(fitting, {"descr": "|O", "fortran_order": False, "shape": shape})
    fitting.write(spring)
    for name in ("means.npy", "header.npy"):
        for payload in (buffer.getvalue(), fitting.getvalue(), pickle.dumps(Trap(trap))):
            with zipfile.ZipFile(path, "w") as archive:
                for member, content in members.items():
                    archive.writestr(member, payload if member == name else content)
            with pytest.raises(ValueError, match="not a whole file"):
                load(path)
    path.write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(ValueError, match="not a whole file"):
        load(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"kind": "fusedgmm.Forest", "format": 1, "meta": {}}, "holds fusedgmm.Forest"),
        ({"kind": KIND, "format": 2, "meta": {}}, "has format 2; this version reads 1"),
        ({"kind": KIND, "format": "1", "meta": {}}, "format"),
        ({"kind": KIND, "format": 1}, "not a whole file"),
        ({"kind": KIND, "format": 1, "meta": 3}, "not a whole file"),
        ([1, 2], "not a whole file"),
        (None, "not a whole file"),
        ("{", "not a whole file"),
    ],
)
def test_another_header_is_refused(path, header, words):
    text = header if isinstance(header, str) else json.dumps(header)
    np.savez(path, header=text, **ARRAYS)
    with pytest.raises(ValueError, match=words):
        load(path)


def test_other_archives_are_refused(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    with pytest.raises(ValueError, match="not a whole file"):
        load(path)
    np.savez(path, **ARRAYS)
    with pytest.raises(ValueError, match="not a whole file"):
        load(path)
    with open(path, "wb") as file:
        np.save(file, ARRAYS["means"])
    with pytest.raises(ValueError, match="not a whole file"):
        load(path)


def test_a_size_beyond_all_memory_is_refused(path):
    """A header of forty bytes may claim any shape."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    npy.write_array_header_1_0(
        buffer, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 1 << 10)}
    )
    members["means.npy"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    with pytest.raises(ValueError, match="not a whole file"):
        load(path)


def test_no_file_and_a_folder_are_os_errors(path):
    for wrong in (path.parent / "none.npz", path.parent):
        with pytest.raises(OSError):
            load(wrong)


def test_saving_keeps_the_mode_of_the_file_it_replaces(path):
    for mode in (0o600, 0o640, 0o444):
        path.chmod(mode)
        save_arrays(path, KIND, 1, {}, ARRAYS)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        save_arrays(tmp_path / "new.npz", KIND, 1, {}, ARRAYS)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.npz").stat().st_mode) == 0o640


def test_saving_through_a_link_replaces_what_it_points_to(tmp_path):
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "real.npz", tmp_path / "link.npz"
    save_arrays(target, KIND, 1, {"old": True}, ARRAYS)
    link.symlink_to(target)
    save_arrays(link, KIND, 1, {"old": False}, ARRAYS)
    assert link.is_symlink() and load(target)[0] == {"old": False}
    assert [p.name for p in target.parent.iterdir()] == ["real.npz"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), MemoryError()])
def test_a_failure_leaves_the_old_file_and_nothing_else(path, error):
    before = path.read_bytes()

    def fail(temporary):
        with open(temporary, "wb") as file:
            file.write(b"half")
        raise error

    with pytest.raises(type(error)):
        write_whole(path, fail)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.npz"]


def test_the_new_file_is_complete_before_it_gets_its_name(path, monkeypatch):
    before = path.read_bytes()
    replace, seen = os.replace, []

    def look(temporary, target):
        seen.append((path.read_bytes() == before, load(temporary)[0]))
        assert os.path.dirname(temporary) == str(path.parent)
        replace(temporary, target)

    monkeypatch.setattr(os, "replace", look)
    save_arrays(path, KIND, 1, {"new": 1}, ARRAYS)
    assert seen == [(True, {"new": 1})] and load(path)[0] == {"new": 1}


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(OSError):
            save_arrays(folder / "model.npz", KIND, 1, {}, ARRAYS)
    folder = tmp_path / "read-only"
    folder.mkdir()
    save_arrays(folder / "model.npz", KIND, 1, {}, ARRAYS)
    folder.chmod(0o555)
    try:
        if os.access(folder, os.W_OK):  # we are root, who may write anywhere
            save_arrays(folder / "model.npz", KIND, 1, {"by": "root"}, ARRAYS)
            assert load(folder / "model.npz")[0] == {"by": "root"}
        else:
            with pytest.raises(PermissionError):
                save_arrays(folder / "model.npz", KIND, 1, {"by": "root"}, ARRAYS)
            assert load(folder / "model.npz")[0] == {}
    finally:
        folder.chmod(0o755)
    assert [p.name for p in folder.iterdir()] == ["model.npz"]
