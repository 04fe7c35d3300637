"""patch_sklearn: programs that import scikit-learn's mixtures get fusedgmm's."""

import copy
import importlib.util
import pickle
import subprocess
import sys
import types
from textwrap import dedent

import numpy as np
import pytest

import fusedgmm
from fusedgmm import GaussianMixture
from helpers import assert_same_answers, assert_same_state, mixture_data, quiet_fit
from helpers.beside_sklearn import THEIRS, clone, sklearn

X = mixture_data(400, 3, 3)[0]


@pytest.fixture
def patched():
    """The names that the patch replaced; they are restored at the end."""
    yield fusedgmm.patch_sklearn()
    fusedgmm.unpatch_sklearn()


def namespaces():
    modules = ("sklearn.mixture", "sklearn.mixture._gaussian_mixture")
    modules += ("sklearn.mixture._bayesian_mixture",)
    return {name: dict(vars(sys.modules[name])) for name in modules}


def test_the_patch_says_what_it_replaced_and_is_undone_exactly():
    before = namespaces()
    replaced = fusedgmm.patch_sklearn()
    try:
        assert "sklearn.mixture.GaussianMixture" in replaced
        assert "sklearn.mixture.BayesianGaussianMixture" in replaced
        changed = [
            f"{module}.{name}"
            for module, names in namespaces().items()
            for name, value in names.items()
            if before[module][name] is not value
        ]
        assert sorted(changed) == sorted(replaced)
        assert fusedgmm.patch_sklearn() == []  # they are already replaced
    finally:
        fusedgmm.unpatch_sklearn()
    after = namespaces()
    for module, names in before.items():
        assert names.keys() == after[module].keys()
        assert all(after[module][name] is value for name, value in names.items())
    fusedgmm.unpatch_sklearn()  # nothing left to do


def test_patched_models_are_ours_and_scikit_learns(kind, patched):
    cls, theirs = getattr(sklearn.mixture, kind.__name__), THEIRS[kind]
    assert cls is not theirs and cls.__name__ == kind.__name__
    options = dict(n_components=2, random_state=0)
    model = quiet_fit(cls(**options), X)
    assert_same_state(model, quiet_fit(kind(**options), X))
    assert isinstance(model, kind) and isinstance(model, theirs) and isinstance(model, cls)
    assert isinstance(theirs(), cls) and issubclass(theirs, cls)  # created before the patch
    other = THEIRS[next(other for other in THEIRS if other is not kind)]
    assert not isinstance(other(), cls) and not isinstance(model, other)
    assert not isinstance(3, cls) and not issubclass(int, cls)
    assert clone(model).get_params() == model.get_params()
    assert repr(model) == repr(kind(**options))
    assert_same_answers(model, kind.from_sklearn(model), X)
    assert type(model.to_sklearn()) is theirs


def test_a_patched_model_outlives_the_patch(kind):
    fusedgmm.patch_sklearn()
    try:
        model = quiet_fit(
            getattr(sklearn.mixture, kind.__name__)(n_components=2, random_state=0), X
        )
        text = pickle.dumps(model)
        assert type(pickle.loads(text)) is type(model)
    finally:
        fusedgmm.unpatch_sklearn()
    copy = pickle.loads(text)
    assert_same_state(copy, model)
    assert isinstance(copy, THEIRS[kind])
    np.testing.assert_array_equal(copy.predict(X), model.predict(X))
    assert quiet_fit(copy, X).n_iter_ == model.n_iter_


def test_subclasses_of_patched_classes(kind, patched):
    class Louder(getattr(sklearn.mixture, kind.__name__)):
        def fit(self, X, y=None):
            self.heard = len(X)
            return super().fit(X)

    model = quiet_fit(Louder(n_components=2, random_state=0), X)
    assert model.heard == len(X) and not isinstance(THEIRS[kind](), Louder)
    assert_same_state(model, quiet_fit(kind(n_components=2, random_state=0), X))
    assert clone(model).get_params() == model.get_params()

    class Inner(getattr(sklearn.mixture, kind.__name__)):
        steps = 0

        def _m_step(self, *args, **kwargs):
            self.steps += 1
            return super()._m_step(*args, **kwargs)

    inner = quiet_fit(Inner(n_components=2, random_state=0), X)
    assert inner.steps == inner.n_iter_ > 0  # scikit-learn's own fit, which calls it
    assert_same_state(inner, quiet_fit(THEIRS[kind](n_components=2, random_state=0), X))
    # "auto" means one start for scikit-learn; an explicit n_init is kept
    assert inner.n_init == inner.get_params()["n_init"] == 1 and Inner(n_init=4).n_init == 4
    assert clone(inner).n_init == clone(inner).set_params(n_init="auto").n_init == 1


def test_a_program_keeps_its_number_of_starts(patched):
    cls = sklearn.mixture.GaussianMixture
    assert cls().n_init == "auto" and cls(n_init=1).n_init == 1
    plain = GaussianMixture(3, n_init=1, random_state=0)
    assert_same_state(quiet_fit(cls(3, n_init=1, random_state=0), X), quiet_fit(plain, X))
    model = quiet_fit(cls(3, random_state=0), X)
    assert_same_state(model, quiet_fit(GaussianMixture(3, random_state=0), X))
    assert model.to_sklearn().n_init == 1


def test_modules_that_imported_the_names_earlier_are_patched_when_asked(monkeypatch):
    theirs = THEIRS[GaussianMixture]
    users = [types.ModuleType(f"a_user_{i}") for i in range(2)]
    for user in users:
        user.Mixture = theirs
        monkeypatch.setitem(sys.modules, user.__name__, user)
    try:
        fusedgmm.patch_sklearn()
        assert users[0].Mixture is theirs
        replaced = fusedgmm.patch_sklearn(everywhere=True)
        assert {"a_user_0.Mixture", "a_user_1.Mixture"} <= set(replaced)
        assert not [name for name in replaced if name.startswith("fusedgmm.")]
        assert users[0].Mixture is sklearn.mixture.GaussianMixture is not theirs
        users[1].Mixture = None  # a change made by others is not undone
    finally:
        fusedgmm.unpatch_sklearn()
    assert users[0].Mixture is theirs and users[1].Mixture is None
    assert THEIRS[GaussianMixture] is theirs is sklearn.mixture.GaussianMixture


@pytest.mark.slow
def test_a_script_runs_under_the_patch_as_it_would_without(tmp_path):
    (tmp_path / "beside.py").write_text("from sklearn.mixture import GaussianMixture\n")
    (tmp_path / "script.py").write_text(
        dedent("""
        import pickle, sys
        from beside import GaussianMixture
        import fusedgmm

        class Mine(GaussianMixture):
            pass

        if __name__ == "__main__":
            print(sys.argv, issubclass(Mine, fusedgmm.GaussianMixture), __file__)
            assert type(pickle.loads(pickle.dumps(Mine(2)))) is Mine
            sys.exit(int(sys.argv[2]))
        """)
    )
    script = str(tmp_path / "script.py")
    command = [sys.executable, "-m", "fusedgmm.patch", script, "--exit", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert done.stdout == f"{[script, '--exit', '3']} True {script}\n"
    said = done.stderr.splitlines()
    assert "fusedgmm in place of sklearn.mixture.GaussianMixture" in said
    assert "fusedgmm in place of sklearn.mixture.BayesianGaussianMixture" in said


def test_an_error_of_a_script_under_the_patch_is_its_own(tmp_path, monkeypatch):
    from fusedgmm.patch import __main__ as patch

    script = str(tmp_path / "script.py")
    (tmp_path / "script.py").write_text("import sys\nraise KeyError(sys.argv, sys.path[0])\n")
    monkeypatch.setattr(sys, "argv", ["patch", script, "more"])
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    try:
        with pytest.raises(KeyError) as caught:
            patch.main()
    finally:
        fusedgmm.unpatch_sklearn()
    # with python -P a script does not find the modules next to it
    first = "" if sys.flags.safe_path else str(tmp_path)
    assert caught.value.args == ([script, "more"], first)
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno) == (script, 1)  # counted from 0


def test_the_patch_says_how_to_use_it(capsys, monkeypatch):
    from fusedgmm.patch import __main__ as patch

    for args in ([], ["-h"], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["patch", *args])
        with pytest.raises(SystemExit, match="usage: python -m fusedgmm.patch script.py args"):
            patch.main()
    with pytest.raises(AttributeError, match="no attribute 'sklearn_Nothing'"):
        _ = fusedgmm.patch.sklearn_Nothing


# ---------------------------------------------------------------- models made before the patch


def saved_by_scikit_learn(kind, **options):
    """A fitted model of scikit-learn's own class, and its pickle."""
    model = quiet_fit(THEIRS[kind](n_components=2, random_state=0, **options), X)
    return model, pickle.dumps(model)


def test_a_pickle_of_scikit_learn_loads_under_the_patch(kind, covariance_type):
    theirs, text = saved_by_scikit_learn(kind, covariance_type=covariance_type)
    unfitted = pickle.dumps(THEIRS[kind](n_components=3))
    fusedgmm.patch_sklearn()
    try:
        cls = getattr(sklearn.mixture, kind.__name__)
        model = pickle.loads(text)
        assert type(model) is cls and isinstance(model, kind)
        assert model.n_threads is None and model.n_init == 1
        assert_same_state(model, theirs)
        assert_same_answers(model, theirs, X)
        assert clone(model).get_params() == model.get_params()
        again = pickle.loads(pickle.dumps(model))
        assert type(again) is cls
        np.testing.assert_array_equal(again.predict(X), theirs.predict(X))
        assert quiet_fit(model, X).n_iter_ > 0
        assert quiet_fit(pickle.loads(unfitted), X).n_components == 3
    finally:
        fusedgmm.unpatch_sklearn()
    assert type(pickle.loads(text)) is THEIRS[kind]  # the file is as it was


def test_other_ways_to_save_a_model_load_under_the_patch(kind, tmp_path):
    joblib = pytest.importorskip("joblib")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    theirs = quiet_fit(make_pipeline(StandardScaler(), THEIRS[kind](random_state=0)), X)
    truth = theirs.predict(X)
    joblib.dump(theirs, tmp_path / "pipeline.joblib")
    skops = pytest.importorskip("skops.io") if installed("skops") else None
    skops and skops.dump(theirs[-1], tmp_path / "model.skops")
    fusedgmm.patch_sklearn()
    try:
        for mmap_mode in (None, "r"):
            loaded = joblib.load(tmp_path / "pipeline.joblib", mmap_mode=mmap_mode)
            assert isinstance(loaded[-1], kind)
            np.testing.assert_array_equal(loaded.predict(X), truth)
        if skops:
            untrusted = skops.get_untrusted_types(file=tmp_path / "model.skops")
            model = skops.load(tmp_path / "model.skops", trusted=untrusted)
            rows = theirs[:-1].transform(X)
            np.testing.assert_array_equal(model.predict(rows), truth)
    finally:
        fusedgmm.unpatch_sklearn()


def installed(name):
    return importlib.util.find_spec(name) is not None


def test_a_model_of_another_version_of_scikit_learn_warns_as_there(kind):
    theirs, _ = saved_by_scikit_learn(kind)
    state = theirs.__getstate__() | {"_sklearn_version": "0.1"}
    fusedgmm.patch_sklearn()
    try:
        model = getattr(sklearn.mixture, kind.__name__).__new__(
            getattr(sklearn.mixture, kind.__name__)
        )
        with pytest.warns(sklearn.exceptions.InconsistentVersionWarning, match=kind.__name__):
            model.__setstate__(state)
        np.testing.assert_array_equal(model.predict(X), theirs.predict(X))
        with pytest.raises(ValueError, match="pickled by another version of fusedgmm"):
            model.__setstate__(state | {"_format": 99})
    finally:
        fusedgmm.unpatch_sklearn()


def test_objects_made_before_the_patch_go_on(kind):
    theirs, _ = saved_by_scikit_learn(kind)
    plain = pickle.dumps(theirs)
    fusedgmm.patch_sklearn()
    try:
        for other in (
            *(pickle.loads(pickle.dumps(theirs, protocol)) for protocol in (2, 4, 5)),
            copy.copy(theirs),
            copy.deepcopy(theirs),
            quiet_fit(clone(theirs), X),
            kind.from_sklearn(theirs).to_sklearn(),
        ):
            assert type(other) is THEIRS[kind]
            assert isinstance(other, getattr(sklearn.mixture, kind.__name__))
            np.testing.assert_allclose(other.means_, theirs.means_, rtol=1e-9)
        text = pickle.dumps([theirs, getattr(sklearn.mixture, kind.__name__)()])
    finally:
        fusedgmm.unpatch_sklearn()
    assert [type(model) is THEIRS[kind] for model in pickle.loads(text)] == [True, False]
    assert pickle.dumps(theirs) == plain


def test_subclasses_saved_before_the_patch_load_under_it(tmp_path):
    """A module of the user's with a subclass, imported without the patch when it saves."""
    (tmp_path / "theirs.py").write_text(
        dedent("""
        from sklearn.mixture import GaussianMixture
        class Plain(GaussianMixture):
            pass
        class Inner(GaussianMixture):
            def _m_step(self, *args, **kwargs):
                return super()._m_step(*args, **kwargs)
        """)
    )
    save = "import pickle, sys; import theirs; import numpy as np; "
    save += "X = np.random.default_rng(0).normal(size=(200, 2)); "
    save += "pickle.dump([cls(2, random_state=0, max_iter=500).fit(X) for cls in "
    save += "(theirs.Plain, theirs.Inner)], open('models', 'wb'))"
    load = dedent("""
        import pickle, numpy as np, fusedgmm
        X = np.random.default_rng(0).normal(size=(200, 2))
        for model in pickle.load(open('models', 'rb')):
            assert isinstance(model, fusedgmm.GaussianMixture)
            print(model.predict(X).sum(), model.n_init, model.fit(X).converged_)
        """)
    (tmp_path / "load.py").write_text(load)
    subprocess.run([sys.executable, "-c", save], cwd=tmp_path, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "fusedgmm.patch", "load.py"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    plain, inner = done.stdout.splitlines()
    assert plain == inner and plain.endswith("1 True")
