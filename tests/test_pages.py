"""The pages: their links are valid, and everything they name exists."""

import re
import tomllib
from pathlib import Path

import pytest

import fusedgmm

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("", "bench", "docs")
    for path in (ROOT / folder).glob("*.md")
)
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
URLS = SETTINGS["project"]["urls"]
SOURCE = URLS["Source"]
OWNER_AND_NAME = SOURCE.removeprefix("https://github.com/")
RAW = f"https://raw.githubusercontent.com/{OWNER_AND_NAME}"


def is_there(path):
    """Return whether a file or folder of the repository exists. If the tests run with the installed
    package and without the sources, only the files that are there can be checked."""
    top, _, rest = path.partition("/")
    if top == "python" and not (ROOT / top).exists():
        return (Path(fusedgmm.__file__).parent / rest.removeprefix("fusedgmm/")).exists()
    if top in ("src", ".ci", ".github") and not (ROOT / top).exists():
        return True
    return (ROOT / path).exists()


def without_code(page):
    return re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)


def links(page):
    text = without_code(page)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)


def anchors(page):
    """The link fragments of a page's headings, as on GitHub."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def as_path(page, link):
    """The file of this repository to which a link points, and its fragment; None for another
    site."""
    address, _, fragment = link.partition("#")
    for prefix in (f"{SOURCE}/blob/main/", f"{RAW}/main/"):
        if address.startswith(prefix):
            return address.removeprefix(prefix), fragment
    if re.match(r"\w+:", address):
        return None
    path = (ROOT / page).parent / address if address else ROOT / page
    return str(path.resolve().relative_to(ROOT.resolve())), fragment


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for link in links(page):
        target = as_path(page, link)
        if target is None:
            continue
        path, fragment = target
        assert is_there(path), link
        if fragment:
            assert fragment in anchors(path), link


def test_the_readme_has_absolute_links_for_pypi():
    assert SETTINGS["project"]["readme"] == "README.md"
    found = links("README.md")
    assert len(found) > 5 and all(link.startswith("https://") for link in found)
    assert any(link.startswith(RAW) for link in found)  # the picture


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    """Files in backquotes, with their folder. A command like `.ci/fuzz all` begins with one."""
    tops = r"(?:src|python|tests|tools|bench|docs|\.ci|\.github)"
    for path in re.findall(rf"`({tops}/[\w./-]*)", without_code(page)):
        assert is_there(path), path


def functions_of(text, path):
    """The functions that a file defines or declares."""
    if path.endswith(".py"):
        return set(re.findall(r"^\s*def (\w+)", text, re.MULTILINE))
    if path.endswith(".pyx"):
        return set(re.findall(r"^(?:cp?def|def) (?:.*? )?\*?(\w+)\(", text, re.MULTILINE))
    return set(re.findall(r"^[\w* ]+?\*?(\w+)\([^;]*?\) \{", text, re.MULTILINE))


@pytest.mark.skipif(not (ROOT / "src").is_dir(), reason="the sources are not here")
def test_the_walk_names_functions_where_they_are():
    """For each "`function` in `file`", the file defines the function."""
    text = " ".join((ROOT / "docs" / "walk.md").read_text().split())
    named = re.findall(
        r"((?:`\w+`(?:,| and) )*`\w+`) in `((?:src|python)/[\w./]+\.(?:c|h|py|pyx))`", text
    )
    assert len(named) >= 15
    for names, path in named:
        have = functions_of((ROOT / path).read_text(), path)
        assert set(re.findall(r"`(\w+)`", names)) <= have, path


def test_the_address_of_the_project_is_the_same_everywhere():
    """The address is the one in pyproject.toml; links to other projects on the same host are
    allowed."""
    assert all(url.startswith(SOURCE) for url in URLS.values())
    files = [ROOT / page for page in PAGES] + [ROOT / "CITATION.cff"]
    files += sorted((ROOT / ".github").rglob("*.yml"))
    for file in files:
        text = file.read_text()
        for address in re.findall(r"https://(?:raw\.githubusercontent|github)\.com/\S*", text):
            if "fusedgmm" in address:
                assert address.startswith((SOURCE, RAW)), file


def test_the_version_that_is_cited_is_this_one():
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited[1] == SETTINGS["project"]["version"]
    assert f"## {cited[1]} " in (ROOT / "CHANGELOG.md").read_text()
    assert f"{cited[1]}." in (ROOT / "README.md").read_text()
