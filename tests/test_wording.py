"""Tests hold on to names, values and formats, never to sentences: every wording may be mended without touching them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
SENTENCE = re.compile(r"(?<![\w./=-])[A-Za-z']+(?: [A-Za-z']+){3,}")
# Words that others have fixed: a licence's name, the model zoo's line of inference times, names of tests' own networks.
FIXED = (
    "GNU Affero General Public License v",
    "NN inference cost average time",
    "two normalised pictures at once",
)
READING = {"startswith", "endswith", "count", "index", "search", "match", "fullmatch", "findall", "any", "all"}


def literals(node: ast.AST) -> Iterator[ast.Constant]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str))


def compared(node: ast.AST) -> Iterator[ast.Constant]:
    """The texts that an assertion looks for; not those that it hands to the code under test, nor keys."""
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition(".")[2]
        parts: list[ast.AST] = [node.func, *(node.args if name in READING else [])]
    elif isinstance(node, ast.Subscript):
        parts = [node.value]
    else:
        parts = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node
    for part in parts:
        yield from compared(part)


def expected_texts(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield from compared(node.test)
        elif isinstance(node, ast.keyword) and node.arg == "match":
            yield from literals(node.value)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name == "raises" or name.endswith("parametrize"):
                for argument in node.args:
                    yield from literals(argument)


def sentences(code: str) -> list[str]:
    """`line: words` of each sentence of four or more words that a test of this code expects."""
    found = []
    for text in expected_texts(ast.parse(code)):
        words = SENTENCE.findall(str(text.value))
        found += [f"{text.lineno}: {one}" for one in words if one not in FIXED]
    return found


def test_no_test_quotes_a_sentence() -> None:
    found = {path: sentences(path.read_text(encoding="utf-8")) for path in TESTS.rglob("*.py")}
    assert {path: quoted for path, quoted in found.items() if quoted} == {}


def test_a_quoted_sentence_is_found_wherever_a_test_would_expect_it() -> None:
    words = "a sentence of words"
    quote = repr(words)
    for code in (
        f"with pytest.raises(ValueError, match={quote}): pass",
        f"with raises(ValueError, {quote}): pass",
        f"assert {quote} in told",
        f"assert told.startswith({quote})",
        f"assert re.search({quote}, told)",
        f"assert any({quote} in line for line in told)",
        "assert told == f'{name}: a sentence of words'",
        f"@pytest.mark.parametrize('told', [{quote}])\ndef test(): pass",
    ):
        assert sentences(code) == [f"1: {words}"], code
    for code in (f"assert call({quote}) == 1", f"assert told[{quote}] == 1", f"assert told, {quote}", f"x = {quote}"):
        assert sentences(code) == [], code
