"""Saved files: written atomically, rejected if they are not what they should be, and free of
code."""

import errno
import io
import json
import os
import pickle
import stat
import sys
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
    """Creates a file when it is unpickled."""

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
        with pytest.raises(OSError, match=f"not a regular file.*{path.name}"):
            write_whole(path, lambda file: pytest.fail("written"))
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.npz", "pipe.npz"]


def test_an_error_has_the_requested_file_name(tmp_path):
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
    """Only a flip in a field of the archive that nothing reads (times, attributes) may pass."""
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
    # padded to the size of an array of pointers: unpickling stops at the end of the pickle
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
    """A header of forty bytes can claim any shape."""
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


HEADERS = {
    "minus signs": "-" * 9000,
    "fewer": "-" * 900,
    "a shape of minus signs": "{'descr':'<f8','fortran_order':False,'shape':(" + "-" * 800 + "1,)}",
    "brackets": "(" * 9000,
    "an open bracket": "{'descr': (",
    "an open string": "'" * 3,
    "a dtype of no syntax": "{'descr':'f8,,f8','fortran_order':False,'shape':(1,)}",
    "sizes that are negative": "{'descr':'<f8','fortran_order':False,'shape':(-1,-3)}",
    "a long one": "{'descr':'<f8','fortran_order':False,'shape':(3,)}" + " " * 5000,
}


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("name", HEADERS)
def test_no_header_of_an_array_does_more_than_be_refused(path, name, version):
    """Python's parser runs out of memory or stack for some of them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = HEADERS[name].encode() + b"\n"
    size = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    for member in members:
        damaged = members | {member: npy.magic(*version) + size + text + bytes(24)}
        with zipfile.ZipFile(path, "w") as archive:
            for other, content in damaged.items():
                archive.writestr(other, content)
        with pytest.raises(ValueError, match=r"model\.npz: not a whole file"):
            load(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "9" * 100_000, '"\\ud800"', ""])
def test_no_text_of_a_header_does_more_than_be_refused(path, text):
    np.savez(path, header=text, **ARRAYS)
    with pytest.raises(ValueError, match=r"model\.npz: "):
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

    def fail(file):
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
        if os.access(folder, os.W_OK):  # running as root, which may write anywhere
            save_arrays(folder / "model.npz", KIND, 1, {"by": "root"}, ARRAYS)
            assert load(folder / "model.npz")[0] == {"by": "root"}
        else:
            with pytest.raises(PermissionError):
                save_arrays(folder / "model.npz", KIND, 1, {"by": "root"}, ARRAYS)
            assert load(folder / "model.npz")[0] == {}
    finally:
        folder.chmod(0o755)
    assert [p.name for p in folder.iterdir()] == ["model.npz"]


# ---- names, links and disks ----

LONGEST = 255  # maximum bytes of a file name
NAMES = {
    "upper case": "MODEL.NPZ",
    "dots": "my.best.model.v1.2.npz",
    "unicode": "modèle ключ 模型 🐟.npz",
    "spaces and quotes": " a 'b' \"c\"\n.npz",
    "no stem": ".npz",
    "a dash": "-o.npz",
    "another ending before": "table.csv.npz",
    "the longest": "m" * (LONGEST - 4) + ".npz",
    "the longest ending": "m." + "z" * (LONGEST - 6) + ".npz",
}
if sys.platform == "linux":  # other systems may reject such a name
    NAMES["not of any encoding"] = os.fsdecode(b"\xff\xfe.npz")
TARGETS = ["blob", "blob.dat", "data.NPZ", "a.b.c", "b" * LONGEST, "b." + "x" * (LONGEST - 2)]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_asked_for_is_written_whatever_its_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for path in (NAMES[name], tmp_path / NAMES[name]):
        for turn in range(2):  # a new file, then a replaced one
            save_arrays(path, KIND, 1, {"turn": turn}, ARRAYS)
            assert names(tmp_path) == [NAMES[name]] and load(path)[0] == {"turn": turn}
        os.unlink(path)


@pytest.mark.parametrize("target", TARGETS, ids=lambda name: name[:9])
@pytest.mark.parametrize("exists", [True, False], ids=["a link", "a dangling link"])
def test_a_link_to_any_name_is_written_through(tmp_path, target, exists):
    (tmp_path / "store").mkdir()
    blob, first, link = tmp_path / "store" / target, tmp_path / "first", tmp_path / "m.npz"
    first.symlink_to(os.path.join("store", target))
    link.symlink_to("first")
    if exists:
        blob.write_bytes(b"old")
    save_arrays(link, KIND, 1, {"new": 1}, ARRAYS)
    assert load(link)[0] == load(blob)[0] == {"new": 1}
    assert link.is_symlink() and first.is_symlink() and not blob.is_symlink()
    assert names(tmp_path) == ["first", "m.npz", "store"] and names(blob.parent) == [target]


def test_links_that_lead_nowhere_are_os_errors_with_the_name_asked_for(tmp_path):
    a, b, itself, nowhere = (tmp_path / f"{name}.npz" for name in ("a", "b", "itself", "nowhere"))
    a.symlink_to(b)
    b.symlink_to(a)
    itself.symlink_to(itself)
    nowhere.symlink_to(tmp_path / "no" / "blob")
    before = names(tmp_path)
    for path in (a, itself):
        for call in (lambda path: save_arrays(path, KIND, 1, {}, ARRAYS), load):
            with pytest.raises(OSError) as caught:
                call(str(path))
            assert caught.value.errno == errno.ELOOP and caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        save_arrays(nowhere, KIND, 1, {}, ARRAYS)
    assert names(tmp_path) == before


def test_a_name_that_no_file_can_have(tmp_path):
    for name, code in (("m" * LONGEST + ".npz", errno.ENAMETOOLONG), ("a/b/m.npz", errno.ENOENT)):
        with pytest.raises(OSError) as caught:
            save_arrays(tmp_path / name, KIND, 1, {}, ARRAYS)
        assert caught.value.errno == code and caught.value.filename == str(tmp_path / name)
    with pytest.raises(ValueError, match="null"):
        save_arrays("a\0b.npz", KIND, 1, {}, ARRAYS)
    for name in ("m", "npz", "m.npz.gz", "m.npz/", ""):
        with pytest.raises(ValueError, match=r"must end in \.npz"):
            save_arrays(name, KIND, 1, {}, ARRAYS)
    assert names(tmp_path) == []


@pytest.mark.parametrize("length", [0, 1, 1000, 100_000])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(path, length):
    """A limit on the size of files fails like a full disk: at any write, or at the final flush."""
    resource = pytest.importorskip("resource")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for target in (path, path.with_name("new.npz")):
        for write in (
            lambda target: save_arrays(target, KIND, 1, {}, {"x": np.zeros(50_000)}),
            lambda target: write_whole(target, lambda file: file.write(bytes(length + 1))),
            lambda target: write_whole(target, lambda file: np.save(file, bytes(length + 1))),
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
            try:
                with pytest.raises(OSError) as caught:
                    write(target)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert caught.value.errno == errno.EFBIG and caught.value.filename == str(target)
            assert path.read_bytes() == before and names(path.parent) == ["model.npz"]


@pytest.mark.parametrize("step", ["open", "fsync", "chmod", "replace"])
def test_a_step_that_fails_leaves_the_old_file_and_the_name_asked_for(path, monkeypatch, step):
    before = path.read_bytes()

    def fail(first, *rest, **others):
        raise OSError(errno.ENOSPC, "no space", first if isinstance(first, str) else None)

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(OSError, match="no space") as caught:
            save_arrays(path, KIND, 1, {}, ARRAYS)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before and names(path.parent) == ["model.npz"]
