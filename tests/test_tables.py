"""Text files written by pandas, R, NumPy and spreadsheets, as the command line reads them."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusedgmm._data_files import UsageError, read_data
from fusedgmm._tables import Format

X = [[1.5, 2.5], [3.25, 4.5], [5.0, 6.25]]
AB = ["a", "b"]


def read(path, content, columns=None, **how):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = read_data(path, columns, how=Format(**how))
    assert len(table.names) == table.X.shape[1]
    return table


def numbered(lines, start=0):
    return "".join(f"{i},{line}\n" for i, line in enumerate(lines, start))


COUNTED = numbered(["1.5,2.5", "3.25,4.5", "5,6.25"] * 4)

# content, names (None: none), values, words in the note ("": no note)
CASES = {
    # ---- separators and decimals
    "commas": ("a,b\n1.5,2.5\n3.25,4.5\n5,6.25\n", AB, X, ""),
    "tabs": ("a\tb\n1.5\t2.5\n3.25\t4.5\n5\t6.25\n", AB, X, ""),
    "bars": ("a|b\n1.5|2.5\n3.25|4.5\n5|6.25\n", AB, X, ""),
    "spaces": ("a b\n1.5  2.5\n 3.25 4.5 \n5 6.25\n", AB, X, ""),
    "spaces after commas": ("a, b\n1.5, 2.5\n3.25, 4.5\n5, 6.25\n", AB, X, ""),
    "semicolons": ("a;b\n1.5;2.5\n3.25;4.5\n5;6.25\n", AB, X, ""),
    "European Excel": ("a;b\r\n1,5;2,5\r\n3,25;4,5\r\n5;6,25\r\n", AB, X, ""),
    "without names": ("1,5;2,5\n3,25;4,5\n5;6,25\n", None, X, ""),
    "tabs, decimal commas": ("a\tb\n1,5\t2,5\n3,25\t4,5\n5\t6,25\n", AB, X, ""),
    "quoted decimal commas": ('a,b\n"1,5","2,5"\n"3,25","4,5"\n5,"6,25"\n', AB, X, ""),
    "Excel says the separator": ("sep=;\na;b\n1,5;2,5\n3,25;4,5\n5;6,25\n", AB, X, ""),
    "text among decimal commas": ("a;b\n165,75;2\n170,2;3\n", AB, [[165.75, 2], [170.2, 3]], ""),
    "one column, decimal commas": (
        "height\n165,75\n170,2\n181\n", ["height"], [[165.75], [170.2], [181]], "one column",
    ),
    "one column, or two?": ("165,75\n170,20\n", None, [[165, 75], [170, 20]], "--decimal ,"),
    "one column, since 05 is no number": ("165,75\n170,05\n", None, [[165.75], [170.05]], "one"),
    "one column": ("a\n1.5\n2\n", ["a"], [[1.5], [2]], ""),
    # ---- thousands
    "thousands": ('a,b\n"1,234.5",2\n"1,234,567",3\n', AB, [[1234.5, 2], [1234567, 3]], ""),
    "thousands?": ('a,b\n"1,234",2.5\n', AB, [[1234, 2.5]], ""),
    "thousands, or decimals?": ('a,b\n"1,234",2\n', AB, [[1234, 2]], "--decimal , reads 1.234"),
    "decimals, or thousands?": ("a;b\n1,234;2\n", AB, [[1.234, 2]], "--decimal . reads 1234"),
    "European thousands": ("a;b\n1.234,5;2\n1.234;3\n", AB, [[1234.5, 2], [1234, 3]], ""),
    "French thousands": ("a;b\n1 234,5;2\n1\u202f234\u202f567,5;3\n", AB,
                         [[1234.5, 2], [1234567.5, 3]], ""),
    "Swiss thousands": ("a;b\n1'234.5;2\n1’234’567;3\n", AB, [[1234.5, 2], [1234567, 3]], ""),
    "a minus of typography": ("a,b\n\u22121.5,2\n", AB, [[-1.5, 2]], ""),
    # ---- what is left out
    "BOM": (b"\xef\xbb\xbfa,b\n1,2\n", AB, [[1, 2]], ""),
    "UTF-16": ("\ufeffa\tb\n1\t2\n".encode("utf-16-le"), AB, [[1, 2]], ""),
    "Latin-1": ("größe,b\n1,2\n".encode("latin-1"), ["größe", "b"], [[1, 2]], "--encoding"),
    "CRLF": ("a,b\r\n1,2\r\n", AB, [[1, 2]], ""),
    "CR": ("a,b\r1,2\r3,4\r", AB, [[1, 2], [3, 4]], ""),
    "empty last lines": ("a,b\n1,2\n\n  \n,\n\n", AB, [[1, 2]], ""),
    "comments": ("# a, b and c\na,b\n1,2\n# 3,4\n5,6\n#end", AB, [[1, 2], [5, 6]], ""),
    "names in a comment (np.savetxt)": ("# made today\n# a b\n1.0 2.5\n3.0 4.5\n", AB,
                                        [[1, 2.5], [3, 4.5]], ""),
    "commas at the ends": ("a,b,\n1,2,\n3,4,\n", AB, [[1, 2], [3, 4]], ""),
    "commas at the ends of rows": ("a,b\n1,2,\n3,4,\n", AB, [[1, 2], [3, 4]], ""),
    "a quoted line break": ('"a\n# no comment",b\n1,2\n', ["a\n# no comment", "b"], [[1, 2]], ""),
    # ---- names
    "a name that means missing": ("Mg,NA,K\n1,2,3\n", ["Mg", "NA", "K"], [[1, 2, 3]], ""),
    "pandas' numbers": ("0,1\n1.5,2.5\n3.25,4.5\n5.0,6.25\n", list("01"), X, "--no-header"),
    "pandas' numbers, decimal commas": ("0;1\n1,5;2,5\n3,25;4,5\n5,0;6,25\n", list("01"), X, "0,1"),
    "pandas' numbers above integers": ("0,1,2\n7,5,9\n3,4,2\n", list("012"),
                                       [[7, 5, 9], [3, 4, 2]], "0,1,2"),
    "0 above integers": ("0\n170\n165\n180\n", ["0"], [[170], [165], [180]], "--no-header"),
    "0 and 1 above integers": ("0,1\n" + "170,65\n180,80\n165,60\n", list("01"),
                               [[170, 65], [180, 80], [165, 60]], "--no-header"),
    "0 and 1 among zeros and ones": ("0,1\n1,1\n0,0\n0,1\n", None,
                                     [[0, 1], [1, 1], [0, 0], [0, 1]], "--header"),
    "counting": ("0,1,2\n3,4,5\n6,7,8\n", None, [[0, 1, 2], [3, 4, 5], [6, 7, 8]], "--header"),
    "years": ("1990,1991,1992\n1.5,2.5,3.5\n", ["1990", "1991", "1992"], [[1.5, 2.5, 3.5]], "1990"),
    "years above integers": ("1990,2000\n51,2\n3,4\n", ["1990", "2000"], [[51, 2], [3, 4]], "2000"),
    "years above years": ("1950,1999\n1951,2000\n", None, [[1950, 1999], [1951, 2000]], "two col"),
    "quoted years (R)": ('"1990","2005"\n1951,7\n', ["1990", "2005"], [[1951, 7]], ""),
    "countries and years": ("name,1990,1991\nNorway,1.5,2.5\n", ["name", "1990", "1991"], None, ""),
    "wavelengths": ("400,400.5,401,401.5,402\n1,2,3,5,4\n",
                    ["400", "400.5", "401", "401.5", "402"], [[1, 2, 3, 5, 4]], "400"),
    "no names": ("1.5,2.5\n3.25,4.5\n5,6.25\n", None, X, ""),
    "whole numbers first": ("5,6\n3.25,4.5\n1.5,2.5\n", None, [[5, 6], *X[1::-1]], ""),
    # ---- the index
    "pandas": (",a,b\n0,1.5,2.5\n1,3.25,4.5\n2,5.0,6.25\n", AB, X, "--no-index"),
    "pandas, without names": (",0,1\n0,1.5,2.5\n1,3.25,4.5\n2,5.0,6.25\n", list("01"), X, "index"),
    "pandas, years": (",1990,1991\n0,7,5\n1,3,4\n", ["1990", "1991"], [[7, 5], [3, 4]], "index"),
    "pandas, a series": (",0\n0,1.5\n1,2.5\n", ["0"], [[1.5], [2.5]], "no name"),
    "pandas, names of rows": (",a\nx,1.5\ny,2.5\n", ["a"], [[1.5], [2.5]], "no name"),
    "pandas, several": (",,a\nx,0,1.5\nx,1,2.5\n", ["a"], [[1.5], [2.5]], "first 2 have no names"),
    "pandas, written twice": ("Unnamed: 0.1,Unnamed: 0,a\n0,0,1.5\n1,1,2.5\n", ["a"],
                              [[1.5], [2.5]], "index"),
    "R, write.csv": ('"","a","b"\n"1",1.5,2.5\n"2",3.25,4.5\n"3",5,6.25\n', AB, X, "no name"),
    "R, write.csv2": ('"";"a";"b"\n"1";1,5;2,5\n"2";3,25;4,5\n"3";5;6,25\n', AB, X, "no name"),
    "R, write.table": ('"a" "b"\n"1" 1.5 2.5\n"2" 3.25 4.5\n"3" 5 6.25\n', AB, X, "no name"),
    "R, names of rows": ('"a" "b"\n"Mazda" 1.5 2.5\n"Fiat" 3.25 4.5\n', AB, X[:2], "no name"),
    "R, integers": ("a\n1,5\n2,7\n3,6\n", ["a"], [[5], [7], [6]], "no name"),
    "R, read and written": ("X,a\n1,5.5\n2,7.5\n3,6.5\n", ["a"], [[5.5], [7.5], [6.5]], "counts"),
    "a name that counts": ("id,a\n1,5.5\n2,7.5\n3,6.5\n", ["id", "a"],
                           [[1, 5.5], [2, 7.5], [3, 6.5]], "--index"),
    "no names, a long index": (COUNTED, None, X * 4, "--no-index"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_tables(case, tmp_path, capsys):
    content, names, values, note = CASES[case]
    if values is None:  # text, which must be rejected
        with pytest.raises(UsageError, match=f"column '{names[0]}' holds text .*--columns 1990"):
            read(tmp_path / "x.csv", content)
        return
    table = read(tmp_path / "x.csv", content)
    np.testing.assert_array_equal(table.X, values)
    said = capsys.readouterr().err
    assert table.named == (names is not None)
    if names is not None:
        assert table.names == names
    assert note in said and len(said.splitlines()) == bool(note)


def test_options_say_what_is_not_detected(tmp_path, capsys):
    path = tmp_path / "x.csv"
    for content, how, values in [
        ("0,1\n1.5,2.5\n", {"header": False}, [[0, 1], [1.5, 2.5]]),
        ("5,6\n1,3\n", {"header": True, "decimal": "."}, [[1, 3]]),
        (",a\n7,1.5\n8,2.5\n", {"index": False}, [[7, 1.5], [8, 2.5]]),
        ("id,a\n7,1.5\n8,2.5\n", {"index": True}, [[1.5], [2.5]]),
        ("165,75\n170,20\n", {"decimal": ","}, [[165.75], [170.2]]),
        ("a\n165,75\n170,20\n", {"delimiter": ",", "index": False}, [[165, 75], [170, 20]]),
        ('a,b\n"1,234","5,5"\n', {"decimal": ","}, [[1.234, 5.5]]),
        ("a;b\n1,234;2\n", {"decimal": "."}, [[1234, 2]]),
        ("a!b\n1!2\n", {"delimiter": "!"}, [[1, 2]]),
        ("% a\na,b\n1,2\n", {"comment": "%"}, [[1, 2]]),
        ("#a,b\n1,2\n", {"comment": ""}, [[1, 2]]),
        ("größe,b\n1,2\n".encode("cp437"), {"encoding": "cp437"}, [[1, 2]]),
    ]:
        np.testing.assert_array_equal(read(path, content, **how).X, values)
        assert capsys.readouterr().err == "", (content, how)
    for content, how, message in [
        ("a\n1\n", {"index": True}, "no other column"),
        ("a,b\n1,2\n", {"encoding": "klingon"}, "unknown encoding 'klingon'"),
        ("größe\n1\n".encode("latin-1"), {"encoding": "utf-8"}, "not encoded in utf-8"),
    ]:
        with pytest.raises(UsageError, match=message):
            read(path, content, **how)


def test_columns_are_counted_in_the_file(tmp_path, capsys):
    content = ",a,b\n0,1.5,2.5\n1,3.25,4.5\n"
    for columns, names in [("0,2", ["column 0", "b"]), ("b,a", ["b", "a"]), ("1", ["a"])]:
        assert read(tmp_path / "x.csv", content, columns).names == names
        assert capsys.readouterr().err == ""  # no note if the user names the columns


@pytest.mark.parametrize(
    "content, message",
    [
        ("# only\n# comments\n", "all lines are comments"),
        ("Measured today\na,b\n1,2\n", "line 2 has 2 cells, the first has 1; is the first a title"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cell, the first has 2"),
        ("a,b\n1,5,2,5\n3,5,4,5\n", "line 2 has 4 cells, the first has 2; decimal commas"),
        ("a,b\ncm,kg\n170,60\n", "line 2 contains no numbers; if it contains names or units"),
        (
            "date,a\n2020-01-01,1.5\n2020-01-02,2.5\n",
            "--columns a, or leave the first out: --index",
        ),
        ("a,b\n1.5,x\n2.5,y\n", r"column 'b' holds text \('x' in line 2\); .* --columns a$"),
        ("a;b\n1,5;2,5\n1.5;2,5\n", "'1.5' in line 3.*--decimal"),
        ("a,b\n1,2\n,\n3,4\n", "1 of 3 rows have missing .* data row 2"),
        ('a\n1\n""\n3\n', "1 of 3 rows have missing .* data row 2"),
        ("a,b\n1,#N/A\n3,4\n", "1 of 2 rows have missing"),
        ("a,b\n#N/A,1\n3,4\n", "1 of 2 rows have missing"),
        ("a,b\n1,<NA>\n.,4\n?,5\nNULL,6\n", "4 of 4 rows have missing"),
        ("a,b\n1,2\n".encode("utf-16-le"), "zero bytes.*--encoding"),
    ],
)
def test_bad_tables_are_explained(tmp_path, content, message):
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path / "x.csv", content)
    assert "\n" not in str(caught.value)


def tables(numbers):
    return st.tuples(st.integers(3, 14), st.integers(1, 6)).flatmap(
        lambda shape: st.lists(
            st.lists(numbers, min_size=shape[1], max_size=shape[1]),
            min_size=shape[0],
            max_size=shape[0],
        )
    )


STYLES = [(",", "."), (";", ","), (";", "."), ("\t", "."), ("\t", ","), (",", ",")]
DECIMALS = st.floats(-1e6, 1e6).filter(lambda x: x != int(x))  # integers may be names


@settings(max_examples=300, deadline=None)
@given(
    values=tables(DECIMALS),
    names=st.sampled_from(["none", "numbers", "years", "letters", "numbers and letters"]),
    index=st.sampled_from([False, True, "letters", "dates"]),
    style=st.sampled_from(STYLES),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    comment=st.booleans(),
)
def test_what_pandas_writes_is_read(
    tmp_path_factory, values, names, index, style, quoting, end, comment
):
    pandas = pytest.importorskip("pandas")
    d = len(values[0])
    header = {
        "numbers": list(range(d)),
        "years": list(range(1990, 1990 + d)),
        "numbers and letters": ["a", 7, "b", "c", "d", "e"][:d],
    }.get(names, list("abcdef")[:d])
    frame = pandas.DataFrame(values, columns=header)
    if index == "letters":
        frame.index = [f"row {i}" for i in range(len(frame))]
    if index == "dates":
        frame.index = pandas.date_range("2020-01-01", periods=len(frame))
    if names == "none" and (index in ("letters", "dates") or (index and len(frame) < 10)):
        index = False  # undecidable: the first column is text, or may be data
    if names == "none" and not index and d == 1 and style[1] == ",":
        style = (";", ".")  # undecidable: whether 165,75 is one number
    text = frame.to_csv(
        index=bool(index),
        header=names != "none",
        sep=style[0],
        decimal=style[1],
        quoting=quoting,
        lineterminator=end,
    )
    path = tmp_path_factory.mktemp("pandas") / "x.csv"
    path.write_bytes((("# a comment" + end) * comment + text).encode())
    table = read_data(path)
    np.testing.assert_array_equal(table.X, frame.to_numpy())
    if names != "none":
        assert table.names == [str(name) for name in header]


@settings(max_examples=100, deadline=None)
@given(
    values=tables(st.integers(-2000, 2000) | DECIMALS),
    index=st.booleans(),
    style=st.sampled_from(STYLES),
)
def test_named_columns_may_hold_any_number(tmp_path_factory, values, index, style):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(values, columns=list("abcdef")[: len(values[0])])
    path = tmp_path_factory.mktemp("pandas") / "x.csv"
    frame.to_csv(path, index=index, sep=style[0], decimal=style[1])
    np.testing.assert_array_equal(read_data(path).X, frame.to_numpy())


PIECES = ["0", "1", "2", "1.5", "a", "NA", "#", '"', ",", ";", "\t", "|", " ", ".", "-", "e5", "\n"]


@settings(max_examples=300, deadline=None)
@given(
    content=st.lists(st.sampled_from([*PIECES, "\n", "\r\n", ",", "\x1f", "é", "sep=;\n"])).map(
        lambda pieces: "".join(pieces).encode()
    )
    | st.binary(max_size=60),
    header=st.sampled_from([None, True, False]),
    index=st.sampled_from([None, True, False]),
    decimal=st.sampled_from([None, ".", ","]),
    delimiter=st.sampled_from([None, ",", " "]),
)
def test_any_text_is_a_table_or_a_line_of_words(tmp_path_factory, content, **how):
    path = tmp_path_factory.mktemp("any") / "x.csv"
    try:
        table = read(path, content, **how)
    except UsageError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
    else:
        assert np.isfinite(table.X).all() and table.X.size
        assert len(table.X) <= len(content.decode("latin-1").splitlines())
